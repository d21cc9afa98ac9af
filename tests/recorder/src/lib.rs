//! Records what a program does to the files below one folder. It is preloaded (`LD_PRELOAD`), stands
//! in for the C library's functions that change files or sync them, does the system call, and notes it
//! in a log. From the log a test builds what a power cut could have left at any moment.
//!
//! | variable | meaning |
//! |---|---|
//! | `RECORDER_ROOT` | the folder, as the program names it: absolute, without links |
//! | `RECORDER_LOG` | the log; it is appended to, so that several lives of a program make one |
//! | `RECORDER_KILL_AT` | the process kills itself once it has noted so many events |
//! | `RECORDER_FAIL_FDATASYNC` | of the calls of `fdatasync`, this one fails with EIO and does nothing |
//! | `RECORDER_SYNC_US` | a sync takes so much longer, as on a real disk |
//!
//! Effects are serialised: an effect and its note happen under one lock, so the log's order is the
//! order of the effects. Syncs are not: their begin and their end are noted, and what was written
//! before the begin is durable from the end on.
//!
//! A descriptor is asked for its inode at each call. So nothing has to be known of `close`, `dup` and
//! `fcntl`, nor of what the C library opens and closes by itself.
//!
//! Unsafe code: the functions have the C library's names and types and get its callers' pointers. They
//! are called at any time by anybody: they allocate nothing, call no function that they stand in for, and
//! cannot panic. Functions that C declares with `...` are defined with the argument it stands for: on
//! the 64-bit machines that this is for, callers pass it in the same register.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the recorder knows the system calls of 64-bit Linux only");

mod data;
mod log;
mod names;
mod place;
mod sync;
