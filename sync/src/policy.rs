//! Which of two servers may do what, by mode and role.

/// How the two servers share the work: an input, from the licence or a setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The secondary is kept the same, and boots nobody.
    #[default]
    None,
    /// The secondary boots terminals; only the primary is changed.
    Mirrored,
    /// Both boot terminals, and either may be changed at any time.
    Full,
}

/// Which of the two a server is: an input. It matters in the modes that tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The master, as operators call it.
    Primary,
    /// The slave.
    Secondary,
}

/// Why a server does not synchronize with the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The other was replaced.
    #[error(
        "another server has taken this one's place in its pair; what was changed here alone is kept there as conflicts. Un-pair \
         this server"
    )]
    Replaced,
    /// No version of the messages in common.
    #[error(
        "the two servers have no version of their messages in common; install the same version on both"
    )]
    Version,
    /// Both are primary, or both secondary, where that matters.
    #[error("both servers have the same role; make one the primary and the other the secondary")]
    Role,
    /// It does not keep the rules of the messages.
    #[error("the other server sent what is no message; both need the same software, undamaged")]
    Malformed,
    /// It asks for more than it may, or speaks to itself.
    #[error("the other server asked for too much at once")]
    TooMuch,
    /// It is this server.
    #[error("this server was paired with itself, or with a copy of its data directory")]
    Itself,
    /// It is switched off.
    #[error("automatic synchronization is switched off on the other server; switch it on there")]
    Off,
}

impl Mode {
    const ALL: [Mode; 3] = [Mode::None, Mode::Mirrored, Mode::Full];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Mode::ALL.get(usize::from(code)).copied()
    }

    /// Whether a server of this role may be changed by operators.
    #[must_use]
    pub fn edits(self, role: Role) -> bool {
        self == Mode::Full || role == Role::Primary
    }

    /// Whether a server of this role boots terminals.
    #[must_use]
    pub fn boots(self, role: Role) -> bool {
        self != Mode::None || role == Role::Primary
    }

    /// Whether two servers of these roles can be a pair.
    #[must_use]
    pub fn pairs(self, ours: Role, theirs: Role) -> bool {
        self == Mode::Full || ours != theirs
    }
}

impl Role {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        [Role::Primary, Role::Secondary]
            .get(usize::from(code))
            .copied()
    }
}

impl Refusal {
    const ALL: [Refusal; 7] = [
        Refusal::Replaced,
        Refusal::Version,
        Refusal::Role,
        Refusal::Malformed,
        Refusal::TooMuch,
        Refusal::Itself,
        Refusal::Off,
    ];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn of_code(code: u8) -> Option<Self> {
        Refusal::ALL.get(usize::from(code)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_of_what_they_were_of() {
        for mode in Mode::ALL {
            assert_eq!(Mode::of_code(mode.code()), Some(mode));
        }
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::of_code(refusal.code()), Some(refusal));
        }
        assert_eq!(Mode::of_code(3), None);
        assert_eq!(Role::of_code(2), None);
    }

    #[test]
    fn c99_a_mirrored_secondary_boots_and_is_not_changed() {
        let (mode, role) = (Mode::Mirrored, Role::Secondary);
        assert!(mode.boots(role) && !mode.edits(role));
        assert!(mode.boots(Role::Primary) && mode.edits(Role::Primary));
        assert!(Mode::Full.edits(role) && Mode::Full.boots(role));
        assert!(!Mode::None.boots(role) && !Mode::None.edits(role));
        assert!(!mode.pairs(role, role) && Mode::Full.pairs(role, role));
    }
}
