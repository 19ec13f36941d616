//! Classification of the system's errors by their meaning for the storage.
//!
//! A temporary shortage is not a broken disk. `EMFILE` depends on the descriptors that this process
//! has open, `ENOMEM` on the memory that the machine has left, and both end when some are released.
//! Such errors are waited out, or fail one call; all others fail the storage.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use rustix::io::Errno;

/// Meaning of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// A resource is short or busy for the moment: the same call may succeed later.
    Transient,
    /// The disk is broken, gone, full, or read-only.
    Disk,
    /// The call is invalid here: a fault of the program, or of someone who changed the directory
    /// while it was open.
    Fatal,
}

/// Errors of the first class, on every system.
const TRANSIENT_ERRNOS: &[Errno] = &[
    Errno::AGAIN,
    Errno::BUSY,
    Errno::DEADLK,
    Errno::INTR,
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOBUFS,
    Errno::NOLCK,
    Errno::NOMEM,
    Errno::TIMEDOUT,
    Errno::TXTBSY,
];

/// Errors of the second class that every system has.
const DISK_ERRNOS: &[Errno] = &[
    Errno::DQUOT,
    Errno::FBIG,
    Errno::IO,
    Errno::NODEV,
    Errno::NOSPC,
    Errno::NXIO,
    Errno::ROFS,
    Errno::STALE,
];

/// Further errors of the second class, on Linux.
#[cfg(target_os = "linux")]
const DISK_OF_LINUX: &[Errno] = &[
    Errno::BADMSG,
    Errno::HWPOISON,
    Errno::MEDIUMTYPE,
    Errno::NODATA,
    Errno::NOLINK,
    Errno::NOMEDIUM,
    Errno::REMOTEIO,
    Errno::SHUTDOWN,
    Errno::TIME,
    Errno::UCLEAN,
];
#[cfg(not(target_os = "linux"))]
const DISK_OF_LINUX: &[Errno] = &[];

/// Calls of `patiently` before a transient error counts as lasting, and the pause between two: 10
/// s.
const TRANSIENT_ATTEMPTS: u32 = 1_000;
const TRANSIENT_RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Classifies an error.
pub(crate) fn class(error: &io::Error) -> ErrorClass {
    let Some(errno) = Errno::from_io_error(error) else {
        return by_kind(error.kind());
    };
    if TRANSIENT_ERRNOS.contains(&errno) {
        ErrorClass::Transient
    } else if DISK_ERRNOS.contains(&errno) || DISK_OF_LINUX.contains(&errno) {
        ErrorClass::Disk
    } else {
        ErrorClass::Fatal
    }
}

/// Classifies an error without an errno: when sled copies an error, it keeps the kind only.
fn by_kind(kind: io::ErrorKind) -> ErrorClass {
    use io::ErrorKind as Kind;
    match kind {
        Kind::Interrupted
        | Kind::WouldBlock
        | Kind::OutOfMemory
        | Kind::ResourceBusy
        | Kind::TimedOut
        | Kind::Deadlock => ErrorClass::Transient,
        Kind::StorageFull
        | Kind::QuotaExceeded
        | Kind::FileTooLarge
        | Kind::ReadOnlyFilesystem
        | Kind::StaleNetworkFileHandle => ErrorClass::Disk,
        _ => ErrorClass::Fatal,
    }
}

/// Repeats the call while it fails with a transient error, for ten seconds at most.
pub(crate) fn patiently<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRANSIENT_ATTEMPTS {
        match call() {
            Err(error) if class(&error) == ErrorClass::Transient => sleep(TRANSIENT_RETRY_PAUSE),
            outcome => return outcome,
        }
    }
    call()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The largest errno of Linux.
    const MAX_ERRNO: i32 = 133;
    /// Errors of the third class, by number: calls on the wrong object, names, permissions, and
    /// everything about sockets, streams, processes and keys, which no file operation of this crate
    /// returns.
    const FATAL_ERRNOS: &[std::ops::RangeInclusive<i32>] = &[
        1..=3,
        7..=10,
        13..=15,
        17..=18,
        20..=22,
        25..=25,
        29..=29,
        31..=34,
        36..=36,
        38..=40,
        42..=57,
        59..=60,
        63..=66,
        68..=73,
        75..=104,
        106..=107,
        109..=109,
        111..=115,
        118..=120,
        125..=132,
    ];

    #[test]
    fn every_error_of_the_system_has_a_class() {
        for number in 1..=MAX_ERRNO {
            let error = io::Error::from_raw_os_error(number);
            let unknown = error.to_string().starts_with("Unknown error");
            let listed = FATAL_ERRNOS.iter().any(|range| range.contains(&number));
            let sorted = class(&error) != ErrorClass::Fatal;
            assert!(
                unknown || listed != sorted,
                "{error} is in {} lists instead of one",
                u8::from(listed) + u8::from(sorted)
            );
        }
        let next = io::Error::from_raw_os_error(MAX_ERRNO + 1).to_string();
        assert!(
            next.starts_with("Unknown error"),
            "{next}: add it to a list as well"
        );
    }

    #[test]
    fn a_copied_error_keeps_its_class() {
        for errno in TRANSIENT_ERRNOS.iter().chain(DISK_ERRNOS) {
            let error = io::Error::from(*errno);
            let copied = io::Error::new(error.kind(), error.to_string());
            // Some kinds are private to the standard library; those errors count as fatal.
            let class = class(&copied);
            assert!(
                class == super::class(&error) || class == ErrorClass::Fatal,
                "{error}"
            );
        }
    }

    #[test]
    fn a_shortage_is_waited_out_and_a_broken_disk_is_not() {
        let mut calls = 0;
        let outcome = patiently(|| {
            calls += 1;
            if calls < 3 {
                Err(Errno::MFILE.into())
            } else {
                Ok(calls)
            }
        });
        assert_eq!(outcome.unwrap(), 3);
        let mut calls = 0;
        let outcome = patiently(|| {
            calls += 1;
            Err::<(), _>(Errno::IO.into())
        });
        assert_eq!((calls, class(&outcome.unwrap_err())), (1, ErrorClass::Disk));
    }
}
