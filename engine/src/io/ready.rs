//! Which operations have completed: one waker for each, made once, that sets a bit and wakes the driver.
//!
//! tokio-uring tells of a completion by waking the waker of the future; so that a turn does not poll a
//! thousand futures to find the few that are done, every operation has a waker of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// The bits, and who is to be woken.
pub(super) struct Ready {
    bits: Box<[AtomicU64]>,
    /// Whether the driver was woken since it last looked.
    woken: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

struct Flag {
    ready: Arc<Ready>,
    operation: usize,
}

impl Ready {
    /// Bits and wakers of `operations` operations.
    pub(super) fn new(operations: usize) -> (Arc<Ready>, Vec<Waker>) {
        let ready = Arc::new(Ready {
            bits: (0..operations.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
            woken: AtomicBool::new(false),
            driver: Mutex::new(None),
        });
        let flag = |operation| {
            Waker::from(Arc::new(Flag {
                ready: ready.clone(),
                operation,
            }))
        };
        let wakers = (0..operations).map(flag).collect();
        (ready, wakers)
    }

    /// `driver` is woken by the next completion.
    pub(super) fn listen(&self, driver: &Waker) {
        {
            let mut held = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
            if held.as_ref().is_none_or(|held| !held.will_wake(driver)) {
                *held = Some(driver.clone());
            }
        }
        self.woken.store(false, Ordering::Release);
    }

    /// Takes the operations that are done, in groups of 64: the number of the first, and the bits.
    pub(super) fn take(&self) -> impl Iterator<Item = (usize, u64)> + use<'_> {
        self.bits.iter().enumerate().filter_map(|(group, bits)| {
            // A plain look first: most groups are empty, and an exchange costs much more.
            if bits.load(Ordering::Relaxed) == 0 {
                return None;
            }
            Some((group * 64, bits.swap(0, Ordering::Acquire)))
        })
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let bit = 1 << (self.operation % 64);
        self.ready.bits[self.operation / 64].fetch_or(bit, Ordering::Release);
        if !self.ready.woken.swap(true, Ordering::AcqRel)
            && let Some(driver) = &*self
                .ready
                .driver
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        {
            driver.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(AtomicU64);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn completions_wake_the_driver_once_and_are_each_found() {
        let (ready, wakers) = Ready::new(130);
        let count = Arc::new(Count(AtomicU64::new(0)));
        ready.listen(&count.clone().into());
        for operation in [0, 63, 64, 129] {
            wakers[operation].wake_by_ref();
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let found: Vec<usize> = ready
            .take()
            .flat_map(|(first, bits)| {
                (0..64)
                    .filter(move |n| bits >> n & 1 == 1)
                    .map(move |n| first + n)
            })
            .collect();
        assert_eq!(found, [0, 63, 64, 129]);
        assert_eq!(ready.take().count(), 0);
        ready.listen(&count.clone().into());
        wakers[1].wake_by_ref();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }
}
