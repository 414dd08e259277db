//! What the stages of one subtask share: who they are, how they wake up, and how they fail.

use super::context::JobContext;
use super::time::Time;
use crate::api::TimestampMs;
use crate::cluster::{AttemptControl, FailureCause};
use crate::{Error, ErrorKind};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use timely::dataflow::Scope;
use timely::scheduling::{Activator, SyncActivator};

/// The context of one task: one subtask of one operator chain.
pub(crate) struct TaskContext {
    /// The names of the operators in the chain, for people.
    pub(crate) name: Rc<str>,
    /// The subtask, `0 .. parallelism`.
    pub(crate) subtask: u32,
    /// The parallelism of every operator in the chain.
    pub(crate) parallelism: u32,
    /// What all tasks of the job share.
    pub(crate) job: Arc<JobContext>,
    /// The running attempt.
    pub(crate) control: AttemptControl,
    activator: Activator,
    waker: Waker,
    /// The earliest processing time that a stage asked for.
    wake_at: Cell<Option<TimestampMs>>,
    failed: Cell<bool>,
}

/// Has a task scheduled, from any thread.
#[derive(Clone)]
pub(crate) struct Waker(Arc<std::sync::Mutex<SyncActivator>>);

impl Waker {
    pub(crate) fn new(activator: SyncActivator) -> Self {
        Self(Arc::new(std::sync::Mutex::new(activator)))
    }

    /// Has the task scheduled soon. Without effect once its worker is gone.
    pub(crate) fn wake(&self) {
        let activator = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // An error says that the worker has ended, and then nobody is to be woken.
        let _ = activator.activate();
    }
}

impl TaskContext {
    /// The context of the timely operator at `address`.
    pub(crate) fn new(
        name: &str,
        parallelism: u32,
        scope: &Scope<'_, Time>,
        address: &Rc<[usize]>,
        job: &Arc<JobContext>,
        control: &AttemptControl,
    ) -> Self {
        Self {
            name: Rc::from(name),
            subtask: u32::try_from(scope.index()).unwrap_or(u32::MAX),
            parallelism,
            job: Arc::clone(job),
            control: control.clone(),
            activator: scope.activator_for(Rc::clone(address)),
            waker: Waker::new(scope.worker().sync_activator_for(address.to_vec())),
            wake_at: Cell::new(None),
            failed: Cell::new(false),
        }
    }

    /// Whether this worker has a subtask of the task at all.
    pub(crate) fn has_subtask(&self) -> bool {
        self.subtask < self.parallelism
    }

    /// Runs one round of the task. Nothing is done any more once the task has failed or the attempt has ended.
    pub(crate) fn run(&self, round: impl FnOnce() -> crate::Result<bool>) -> bool {
        if self.failed.get() || self.control.is_ended() {
            return false;
        }
        round().unwrap_or_else(|error| {
            self.fail(&error);
            false
        })
    }

    /// Has the task scheduled again in the next round.
    pub(crate) fn activate(&self) {
        self.activator.activate();
    }

    /// Has the task scheduled again after `delay`.
    pub(crate) fn activate_after(&self, delay: Duration) {
        self.activator.activate_after(delay);
    }

    /// A handle that wakes the task from other threads.
    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Asks for [`processing_time`](super::stage::Stage::processing_time) at `time` or soon after.
    pub(crate) fn wake_at(&self, time: TimestampMs) {
        if self.wake_at.get().is_none_or(|earliest| time < earliest) {
            self.wake_at.set(Some(time));
            let delay = u64::try_from(time.saturating_sub(now_ms())).unwrap_or(0);
            // An activation in the far future would only keep memory: the head of the queue asks again when it fires.
            self.activate_after(Duration::from_millis(delay));
        }
    }

    /// The time to report, if a moment that was asked for has come.
    pub(crate) fn take_due(&self) -> Option<TimestampMs> {
        let now = now_ms();
        let due = self.wake_at.get().is_some_and(|time| time <= now);
        due.then(|| {
            self.wake_at.set(None);
            now
        })
    }

    /// Ends the attempt because of `error`. Only the first failure of a task is told.
    pub(crate) fn fail(&self, error: &Error) {
        if !self.failed.replace(true) {
            let mut cause = FailureCause::of(error);
            cause.operator = Some(self.name.to_string());
            cause.subtask = Some(self.subtask);
            self.control.fail(cause);
        }
    }

    /// Notes that code of `operator` runs on this thread, so that a panic can be told with its name.
    pub(crate) fn enter<'a>(&'a self, operator: &'a Rc<str>) -> Entered {
        let before = RUNNING.with(|running| {
            running.replace(Some(Running {
                operator: Rc::clone(operator),
                subtask: self.subtask,
            }))
        });
        Entered { before }
    }
}

/// The operator whose code runs on a thread.
#[derive(Clone)]
struct Running {
    operator: Rc<str>,
    subtask: u32,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// Until it is dropped, the code of an operator runs. A panic leaves the note in place, for [`cause_of_panic`].
pub(crate) struct Entered {
    before: Option<Running>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let before = self.before.take();
            RUNNING.with(|running| running.replace(before));
        }
    }
}

/// The cause of a panic that was caught on this thread, with the operator that was running.
pub(crate) fn cause_of_panic(payload: &(dyn std::any::Any + Send)) -> FailureCause {
    let text = millpond_backend_api::export::panic_text(payload);
    let running = RUNNING.with(RefCell::take);
    let kind = if running.is_some() {
        ErrorKind::UserCode
    } else {
        ErrorKind::Bug
    };
    FailureCause {
        kind,
        message: format!("panicked: {text}"),
        operator: running.as_ref().map(|running| running.operator.to_string()),
        subtask: running.map(|running| running.subtask),
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn now_ms() -> TimestampMs {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| {
        TimestampMs::try_from(since.as_millis()).unwrap_or(TimestampMs::MAX)
    })
}
