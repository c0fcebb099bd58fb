//! Accounts of the activation site. There is no default password, and nobody chooses another's: whoever gets an account gets a link,
//! once, and chooses a password there.

use super::ledger::{Account, Added};
use super::{Authority, AuthorityError};
use crate::edge::random;
use crate::kind::LoginName;
use crate::limits::{ACCOUNTS_MAX, INVITATION_MS};
use crate::object::Id;
use crate::security::{Digest, Password, Secret, Verifier};

impl Authority {
    /// Adds an account: of a customer, or of the vendor's staff. Gives the secret of the link with which its password is chosen.
    pub fn add_account(
        &self,
        name: &str,
        customer: Option<&str>,
    ) -> Result<(Account, Secret), AuthorityError> {
        let name = LoginName::parse(name)?;
        let customer = customer.map(super::customer_name).transpose()?;
        let account = Account {
            id: Id::from_random(random(&*self.entropy)),
            name,
            customer,
            has_password: false,
            invited_ms: Some(self.clock.now_ms()),
        };
        let secret = Secret::new("invitation", &*self.entropy);
        let added = self
            .ledger
            .add_account(&account, &secret.digest(), ACCOUNTS_MAX)?;
        match added {
            Added::Done => Ok((account, secret)),
            Added::Taken => Err(AuthorityError::AccountTaken(account.name)),
            Added::TooMany => Err(AuthorityError::TooManyAccounts),
        }
    }

    /// A new link for an account. Its password holds no more, nor does any link that was made before.
    pub fn invite_again(&self, id: &Id) -> Result<(Account, Secret), AuthorityError> {
        let account = self.ledger.account(id)?;
        let account = account.ok_or(AuthorityError::NoAccount)?;
        let secret = Secret::new("invitation", &*self.entropy);
        self.ledger
            .invite(&account.id, &secret.digest(), self.clock.now_ms())?;
        Ok((account, secret))
    }

    /// Whose link this is.
    pub fn invited(&self, presented: &str) -> Result<Account, AuthorityError> {
        let found = self
            .ledger
            .invited(&Digest::of(presented), self.invited_since())?;
        found.ok_or(AuthorityError::Invitation)
    }

    /// Sets the password of whoever was invited, and uses the link up. Slow, as passwords are.
    pub fn accept_invitation(
        &self,
        presented: &str,
        password: &Password,
    ) -> Result<Account, AuthorityError> {
        let account = self.invited(presented)?;
        let verifier = Verifier::of(password, &*self.entropy);
        let digest = Digest::of(presented);
        let accepted = self
            .ledger
            .accept(&digest, self.invited_since(), &verifier)?;
        if accepted {
            Ok(account)
        } else {
            Err(AuthorityError::Invitation)
        }
    }

    fn invited_since(&self) -> u64 {
        self.clock.now_ms().saturating_sub(INVITATION_MS)
    }

    /// Sets another password. Slow, as passwords are.
    pub fn set_password(&self, id: &Id, password: &Password) -> Result<(), AuthorityError> {
        let verifier = Verifier::of(password, &*self.entropy);
        if self.ledger.set_verifier(id, &verifier)? {
            Ok(())
        } else {
            Err(AuthorityError::NoAccount)
        }
    }

    /// The account of this identifier.
    pub fn account(&self, id: &Id) -> Result<Option<Account>, AuthorityError> {
        Ok(self.ledger.account(id)?)
    }

    /// The account of this name, and what its password is checked with, if it has one.
    pub fn account_named(
        &self,
        name: &LoginName,
    ) -> Result<Option<(Account, Option<Verifier>)>, AuthorityError> {
        Ok(self.ledger.account_named(name)?)
    }

    /// Every account, by name.
    pub fn accounts(&self) -> Result<Vec<Account>, AuthorityError> {
        Ok(self.ledger.accounts()?)
    }

    /// Removes an account. Whoever is logged in with it is not any more.
    pub fn remove_account(&self, id: &Id) -> Result<(), AuthorityError> {
        if self.ledger.remove_account(id)? {
            Ok(())
        } else {
            Err(AuthorityError::NoAccount)
        }
    }
}
