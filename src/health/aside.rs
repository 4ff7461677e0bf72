//! Work that nobody can interrupt, on a thread of its own: the system looks a host's name up for as long as it likes,
//! whatever deadline there is. Whoever waits may stop waiting; the work then ends by itself, unheard.
//!
//! The thread knows nothing of the server: it takes none of its signals, calls none of its functions, and owns what it
//! works on.

#![expect(unsafe_code, reason = "a thread is born with the signals that are held back")]

use crate::memory;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::Builder;

/// So many may be under way in this process, with those that nobody waits for any more.
const MOST: usize = 16;
const STACK: usize = 2 * 1024 * 1024;

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Work that was begun, and may have ended.
pub struct Errand<T> {
    bell: UnixStream,
    answer: mpsc::Receiver<T>,
}

impl<T: Send + 'static> Errand<T> {
    /// Begins it. None if too many are under way, or the system has no thread to give.
    pub fn begin(work: impl FnOnce() -> T + Send + 'static) -> Option<Self> {
        let place = Place::take()?;
        let (bell, ringer) = UnixStream::pair().ok()?;
        let (give, answer) = mpsc::channel();
        let errand = move || {
            // Let go of from below: whoever hears the bell finds the answer given and the place free.
            let _ringer = ringer;
            let _place = place;
            memory::leave_the_session();
            if let Ok(answer) = catch_unwind(AssertUnwindSafe(work)) {
                give.send(answer).ok();
            }
        };
        let thread = Builder::new().name("stormops".to_owned()).stack_size(STACK);
        with_signals_held(|| thread.spawn(errand)).ok()?;
        Some(Self { bell, answer })
    }

    /// Can be read from as soon as the work has ended.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// What the work came to. None if it has not ended, or ended in a panic.
    pub fn answer(&self) -> Option<T> {
        self.answer.try_recv().ok()
    }
}

/// One of the places, held until the work has ended.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let more = |taken| (taken < MOST).then_some(taken + 1);
        UNDER_WAY.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok().map(|_| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The server's handlers run in its own thread only: one that is born meanwhile never takes a signal.
fn with_signals_held<T>(birth: impl FnOnce() -> T) -> T {
    /// Gives the signals back, however it ends.
    struct Held(libc::sigset_t);
    impl Drop for Held {
        fn drop(&mut self) {
            // SAFETY: restores the mask that was there.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
        }
    }
    // SAFETY: plain calls on two signal sets of this frame. Faults of the processor stay deliverable.
    let _held = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT] {
            libc::sigdelset(&raw mut all, fault);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
        Held(before)
    };
    birth()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::Mutex;
    use std::time::{Duration, Instant};

    /// Tests that count the places take turns.
    static TURN: Mutex<()> = Mutex::new(());

    fn await_end<T>(errand: &Errand<T>) {
        (&errand.bell).read_to_end(&mut Vec::new()).unwrap();
    }

    #[test]
    fn an_answer_is_there_when_the_bell_rings_and_no_signal_reaches_the_thread() {
        let _turn = TURN.lock();
        let errand = Errand::begin(|| {
            // SAFETY: asks for the mask of this thread.
            unsafe {
                let mut held: libc::sigset_t = std::mem::zeroed();
                libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut held);
                let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, libc::SIGALRM, libc::SIGSEGV];
                (memory::is_aside(), signals.map(|signal| libc::sigismember(&raw const held, signal) == 1))
            }
        });
        let errand = errand.unwrap();
        await_end(&errand);
        assert_eq!(errand.answer(), Some((true, [true, true, true, true, false])));
        assert!(!memory::is_aside());
        // SAFETY: as above, of the thread that began it.
        unsafe {
            let mut held: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut held);
            assert_eq!(libc::sigismember(&raw const held, libc::SIGTERM), 0);
        }
    }

    #[test]
    fn a_panic_ends_the_thread_and_nothing_else() {
        let _turn = TURN.lock();
        let errand = Errand::<()>::begin(|| panic!("of a test")).unwrap();
        await_end(&errand);
        assert_eq!(errand.answer(), None);
    }

    #[test]
    fn who_stops_waiting_leaves_a_bounded_number_behind_and_they_end() {
        let _turn = TURN.lock();
        let (end, ended) = mpsc::channel::<()>();
        let ended = std::sync::Arc::new(Mutex::new(ended));
        let started = Instant::now();
        // As a resolver that does not answer.
        let stuck: Vec<_> = (0..MOST)
            .map(|_| {
                let ended = ended.clone();
                Errand::begin(move || ended.lock().unwrap().recv().is_err()).unwrap()
            })
            .collect();
        assert!(stuck.iter().all(|errand| errand.answer().is_none()));
        assert!(Errand::begin(|| ()).is_none(), "one too many");
        assert!(started.elapsed() < Duration::from_secs(5), "nobody waited");
        let (heard, left): (Vec<_>, Vec<_>) = stuck.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
        drop(left); // nobody waits for these
        drop(end);
        for (_, errand) in &heard {
            await_end(errand);
            assert_eq!(errand.answer(), Some(true));
        }
        while UNDER_WAY.load(Ordering::Acquire) > 0 {
            assert!(started.elapsed() < Duration::from_secs(20), "all end");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(Errand::begin(|| ()).is_some_and(|errand| (await_end(&errand), errand.answer()).1.is_some()));
    }
}
