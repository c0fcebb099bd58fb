//! What the workers tell each other: who has begun its boot.
//!
//! The kernel gives the requests of one terminal to different workers, since each comes from another port. So that a
//! terminal that one worker has served is let to finish its boot at every other, they tell each other. Nobody waits: a
//! queue that is full loses what comes, and that terminal is a newcomer there.

use core::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use daybreak_tftp::Time;
use daybreak_tftp::limits::BOOT_PAUSE;

use crate::limits;

/// A worker's end.
#[derive(Clone, Debug)]
pub struct Boots {
    told: Arc<ArrayQueue<(Time, IpAddr)>>,
    others: Vec<Arc<ArrayQueue<(Time, IpAddr)>>>,
}

impl Boots {
    /// The ends of so many workers.
    #[must_use]
    pub fn of(workers: usize) -> Vec<Boots> {
        let queue = || Arc::new(ArrayQueue::new(limits::BOOTS_TOLD_MAX));
        let queues: Vec<_> = (0..workers).map(|_| queue()).collect();
        let end = |told: &Arc<ArrayQueue<(Time, IpAddr)>>| Boots {
            told: told.clone(),
            others: queues
                .iter()
                .filter(|queue| !Arc::ptr_eq(queue, told))
                .cloned()
                .collect(),
        };
        queues.iter().map(end).collect()
    }

    /// The terminal at an address has got a file from this worker.
    pub fn tell(&self, now: Time, source: IpAddr) {
        for other in &self.others {
            // Full: that worker has had no turn for long, and takes it for a newcomer.
            let _ = other.push((now, source));
        }
    }

    /// A terminal that another worker has told of, if there is any left. One that was told of long ago is passed over: its
    /// boot is over.
    #[must_use]
    pub fn next(&self, now: Time) -> Option<IpAddr> {
        core::iter::from_fn(|| self.told.pop())
            .find(|(at, _)| now.since(*at) < BOOT_PAUSE)
            .map(|(_, source)| source)
    }
}

impl Default for Boots {
    /// The end of a worker that is alone.
    fn default() -> Self {
        Boots {
            told: Arc::new(ArrayQueue::new(1)),
            others: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn every_other_worker_is_told_and_a_full_queue_keeps_what_it_has() {
        let workers = Boots::of(3);
        let source = |number: usize| IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        for number in 0..=limits::BOOTS_TOLD_MAX {
            workers[1].tell(Time::ZERO, source(number));
        }
        assert_eq!(workers[1].next(Time::ZERO), None, "not itself");
        for worker in [&workers[0], &workers[2]] {
            let told: Vec<_> = core::iter::from_fn(|| worker.next(Time::ZERO)).collect();
            assert_eq!(told.len(), limits::BOOTS_TOLD_MAX);
            assert_eq!(told[0], source(0));
        }
    }

    #[test]
    fn what_was_told_long_ago_is_passed_over() {
        let workers = Boots::of(2);
        let source = |number: u32| IpAddr::from(number.to_be_bytes());
        workers[0].tell(Time::ZERO, source(1));
        workers[0].tell(Time::ZERO + BOOT_PAUSE, source(2));
        let later = Time::ZERO + BOOT_PAUSE + Duration::from_secs(1);
        assert_eq!(workers[1].next(later), Some(source(2)));
        assert_eq!(workers[1].next(later), None);
    }
}
