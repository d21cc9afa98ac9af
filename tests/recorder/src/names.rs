//! What changes a folder.

use std::ffi::{c_char, c_int, c_long, c_uint};

use libc::{mode_t, syscall};

use crate::log::{Kind, Turn, give_up};
use crate::place::{Place, named};

/// A name, as callers say it.
type Name = (c_int, *const c_char);

/// Does what takes one name and notes it; `made` says that the name gets an inode by it.
#[allow(clippy::cast_possible_truncation)] // 0 or -1
fn change(kind: Kind, name: Name, made: bool, work: impl FnOnce() -> c_long) -> c_int {
    let Some(place) = Place::of(name.0, name.1) else { return work() as c_int };
    let turn = Turn::take();
    let result = work() as c_int;
    if result == 0 {
        let inode = named(name.0, name.1).filter(|_| made).map_or(0, |found| found.st_ino);
        turn.note(kind, (inode, 0), place.below(), b"");
    }
    result
}

/// Does what takes two names and notes it.
#[allow(clippy::cast_possible_truncation)] // 0 or -1
fn change_two(kind: Kind, from: Name, to: Name, work: impl FnOnce() -> c_long) -> c_int {
    match (Place::of(from.0, from.1), Place::of(to.0, to.1)) {
        (None, None) => work() as c_int,
        (Some(from), Some(to)) => {
            let turn = Turn::take();
            let result = work() as c_int;
            if result == 0 {
                turn.note(kind, (0, 0), from.below(), to.below());
            }
            result
        }
        _ => give_up(c"recorder: a move into or out of the folder is not recorded\n"),
    }
}

fn move_name(from: Name, to: Name, flags: c_uint) -> c_int {
    if flags & !libc::RENAME_NOREPLACE != 0 {
        give_up(c"recorder: an exchange of names is not recorded\n");
    }
    // SAFETY: the callers' arguments.
    change_two(Kind::Rename, from, to, || unsafe {
        syscall(libc::SYS_renameat2, from.0, from.1, to.0, to.1, flags)
    })
}

#[unsafe(no_mangle)]
extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    move_name((libc::AT_FDCWD, from), (libc::AT_FDCWD, to), 0)
}

#[unsafe(no_mangle)]
extern "C" fn renameat(
    from_in: c_int,
    from: *const c_char,
    to_in: c_int,
    to: *const c_char,
) -> c_int {
    move_name((from_in, from), (to_in, to), 0)
}

#[unsafe(no_mangle)]
extern "C" fn renameat2(
    from_in: c_int,
    from: *const c_char,
    to_in: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    move_name((from_in, from), (to_in, to), flags)
}

fn link_in(from: Name, to: Name, flags: c_int) -> c_int {
    // SAFETY: the callers' arguments.
    change_two(Kind::Link, from, to, || unsafe {
        syscall(libc::SYS_linkat, from.0, from.1, to.0, to.1, flags)
    })
}

#[unsafe(no_mangle)]
extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    link_in((libc::AT_FDCWD, from), (libc::AT_FDCWD, to), 0)
}

#[unsafe(no_mangle)]
extern "C" fn linkat(
    from_in: c_int,
    from: *const c_char,
    to_in: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    link_in((from_in, from), (to_in, to), flags)
}

fn remove(name: Name, flags: c_int) -> c_int {
    // SAFETY: the callers' arguments.
    change(Kind::Remove, name, false, || unsafe {
        syscall(libc::SYS_unlinkat, name.0, name.1, flags)
    })
}

#[unsafe(no_mangle)]
extern "C" fn unlink(path: *const c_char) -> c_int {
    remove((libc::AT_FDCWD, path), 0)
}

#[unsafe(no_mangle)]
extern "C" fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    remove((folder, path), flags)
}

#[unsafe(no_mangle)]
extern "C" fn rmdir(path: *const c_char) -> c_int {
    remove((libc::AT_FDCWD, path), libc::AT_REMOVEDIR)
}

#[unsafe(no_mangle)]
extern "C" fn mkdirat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's arguments.
    change(Kind::Folder, (folder, path), true, || unsafe {
        syscall(libc::SYS_mkdirat, folder, path, mode)
    })
}

#[unsafe(no_mangle)]
extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    mkdirat(libc::AT_FDCWD, path, mode)
}
