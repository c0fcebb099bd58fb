//! The thread that looks at the licences again and again, and at who waits for a seat.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::{Licences, Lookout, tend};
use crate::configuration::{Actor, Configuration};
use crate::limits::LICENCES_LOOK;
use crate::object::Id;

/// See the module.
pub struct Steward {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    configuration: Arc<Configuration>,
    licences: Arc<Licences>,
    lookout: Arc<Lookout>,
    hears_primary: Box<dyn Fn() -> bool + Send + Sync>,
    orders: Mutex<Orders>,
    wake: Condvar,
}

#[derive(Default)]
struct Orders {
    wanted: bool,
    stop: bool,
}

impl Steward {
    /// Starts it. `hears_primary` says whether this is the secondary of a pair that hears of the changes of its primary; `publish` is called when
    /// something follows for terminals.
    pub fn start(
        configuration: Arc<Configuration>,
        licences: Arc<Licences>,
        lookout: Arc<Lookout>,
        hears_primary: impl Fn() -> bool + Send + Sync + 'static,
        publish: Box<dyn Fn() + Send>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            configuration,
            licences,
            lookout,
            hears_primary: Box::new(hears_primary),
            orders: Mutex::new(Orders {
                wanted: true,
                stop: false,
            }),
            wake: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("licences".into())
            .spawn(move || worker.run(&*publish))?;
        Ok(Steward {
            shared,
            thread: Some(thread),
        })
    }

    /// Says that licences or terminals are others now.
    pub fn wake(&self) {
        let mut orders = self
            .shared
            .orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        orders.wanted = true;
        self.shared.wake.notify_all();
    }
}

impl Drop for Steward {
    fn drop(&mut self) {
        let mut orders = self
            .shared
            .orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        orders.stop = true;
        drop(orders);
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // If it has panicked, it has said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, publish: &dyn Fn()) {
        let mut failing = false;
        while self.next_order() {
            let before = *self.configuration.site().entitlement();
            let outcome = self.once();
            let after = *self.configuration.site().entitlement();
            if before != after || matches!(outcome, Ok(true)) {
                publish();
            }
            match outcome {
                Err(error) if !failing => {
                    tracing::error!(%error, "licences cannot be looked at; what was in force stays so");
                    failing = true;
                }
                Err(_) => {}
                Ok(_) => failing = false,
            }
        }
    }

    fn once(&self) -> Result<bool, Box<dyn std::error::Error>> {
        self.licences.refresh()?;
        self.lookout.look()?;
        // One of the two gives the free seats, so that both do not give one to the same terminal at once; each does while they are apart.
        if (self.hears_primary)() {
            return Ok(false);
        }
        let actor = Actor::machine("licences");
        let settled = self.configuration.settle_seats(&actor)?;
        let site = self.configuration.site();
        let before_ms = match site.seat_days() {
            Some(days) => self.lookout.unseen_before_ms(days)?,
            None => None,
        };
        let seen_ms = |id: &Id| self.lookout.seen_ms(id);
        Ok(tend(&self.configuration, before_ms, &seen_ms)? || settled > 0)
    }

    /// Waits for something to do, or for the next look; `false`: to stop.
    fn next_order(&self) -> bool {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .wake
            .wait_timeout_while(orders, LICENCES_LOOK, |orders| {
                !orders.wanted && !orders.stop
            });
        let (mut orders, _) = waited.unwrap_or_else(PoisonError::into_inner);
        orders.wanted = false;
        !orders.stop
    }
}
