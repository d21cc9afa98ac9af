//! A model of a disk below a page cache: what is durable, and what a power cut could take.
//!
//! It reads POSIX as a hostile file system would. A file's sync makes the file durable, not its
//! name; a folder's sync makes names in it durable, not the files, nor the folder's own name. Only
//! what was done before a sync began is durable when it ends.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::Bytes;

use super::log::Event;

/// Which file or folder, whatever its names are.
pub type Node = usize;
/// Names of a folder.
pub type Names = BTreeMap<String, Node>;

/// A file's change that no sync has made durable yet.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum Change {
    /// Bytes at a place.
    Write { at: u64, bytes: Bytes },
    /// Another size.
    Size(u64),
}

/// A file.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// Its durable content.
    pub durable: Vec<u8>,
    /// What came since, each with its event's number.
    pub pending: Vec<(usize, Change)>,
}

/// A file or folder.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A file.
    File(File),
    /// A folder: its names now, and those that are durable.
    #[allow(missing_docs)]
    Folder { now: Names, durable: Names },
}

/// A change of names that is not durable yet. It is done as a whole or not at all.
#[derive(Debug, Clone)]
pub struct Naming {
    event: usize,
    about: Node,
    edits: Vec<(Node, String, Option<Node>)>,
}

impl Naming {
    /// Does it to `names`, the folders' names.
    pub fn apply(&self, names: &mut HashMap<Node, Names>) {
        for (folder, name, node) in &self.edits {
            let names = names.entry(*folder).or_default();
            match node {
                Some(node) => names.insert(name.clone(), *node),
                None => names.remove(name),
            };
        }
    }

    fn concerns(&self, folder: Node) -> bool {
        self.edits.iter().any(|(of, ..)| *of == folder)
    }

    /// Whether this one, which came later, can only be durable with the `earlier` one.
    pub fn follows(&self, earlier: &Self) -> bool {
        let same = |(folder, name, _): &(Node, String, Option<Node>)| {
            earlier.edits.iter().any(|(f, n, _)| f == folder && n == name)
        };
        self.about == earlier.about || self.edits.iter().any(same)
    }
}

/// The disk at some moment.
#[derive(Debug, Clone)]
pub struct Disk {
    nodes: Vec<Kind>,
    inodes: HashMap<u64, Node>,
    /// Changes of names that are not durable, in their order.
    pub namings: Vec<Naming>,
    events: usize,
    /// By thread, when its sync began.
    syncs: HashMap<u32, usize>,
}

/// The recorded folder itself.
pub const ROOT: Node = 0;

impl Disk {
    /// As `folder` is now, all of it durable.
    pub fn of(folder: &Path) -> Self {
        let mut disk = Self {
            nodes: vec![empty_folder()],
            inodes: HashMap::new(),
            namings: Vec::new(),
            events: 0,
            syncs: HashMap::new(),
        };
        disk.inodes.insert(fs::metadata(folder).unwrap().ino(), ROOT);
        disk.take_up(folder, ROOT);
        disk
    }

    fn take_up(&mut self, path: &Path, folder: Node) {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let found = entry.metadata().unwrap();
            let kind = if found.is_dir() {
                empty_folder()
            } else {
                Kind::File(File { durable: fs::read(entry.path()).unwrap(), pending: vec![] })
            };
            let node = self.add(found.ino(), kind);
            if let Kind::Folder { now, durable } = &mut self.nodes[folder] {
                let name = entry.file_name().into_string().unwrap();
                now.insert(name.clone(), node);
                durable.insert(name, node);
            }
            if found.is_dir() {
                self.take_up(&entry.path(), node);
            }
        }
    }

    fn add(&mut self, inode: u64, kind: Kind) -> Node {
        self.nodes.push(kind);
        // A number that was another's before is this one's now.
        self.inodes.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// How many files and folders there are and were.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The file or folder.
    pub fn node(&self, node: Node) -> &Kind {
        &self.nodes[node]
    }

    /// The durable names of all folders.
    pub fn durable_names(&self) -> HashMap<Node, Names> {
        let of = |(node, kind): (Node, &Kind)| match kind {
            Kind::Folder { durable, .. } => Some((node, durable.clone())),
            Kind::File(_) => None,
        };
        self.nodes.iter().enumerate().filter_map(of).collect()
    }

    /// Does what `event` says.
    pub fn apply(&mut self, event: &Event) {
        self.events += 1;
        match event {
            Event::Start => self.syncs.clear(),
            Event::Create { inode, path } => {
                let node = self.add(*inode, Kind::File(File::default()));
                self.name(path, node);
            }
            Event::Folder { inode, path } => {
                let node = self.add(*inode, empty_folder());
                self.name(path, node);
            }
            Event::Write { inode, at, bytes } => {
                self.change(*inode, Change::Write { at: *at, bytes: bytes.clone() });
            }
            Event::Size { inode, bytes } => self.change(*inode, Change::Size(*bytes)),
            Event::SyncBegin { thread, .. } => {
                self.syncs.insert(*thread, self.events);
            }
            Event::SyncEnd { thread, inode } => self.sync(*thread, *inode),
            Event::Rename { from, to } => {
                let ((folder, name), to) = (self.resolve(from), self.resolve(to));
                let node = self.names(folder)[&name];
                self.rename(node, vec![(folder, name, None), (to.0, to.1, Some(node))]);
            }
            Event::Link { from, to } => {
                let (folder, name) = self.resolve(from);
                self.name(to, self.names(folder)[&name]);
            }
            Event::Remove { path } => {
                let (folder, name) = self.resolve(path);
                let node = self.names(folder)[&name];
                self.rename(node, vec![(folder, name, None)]);
            }
        }
    }

    fn names(&self, folder: Node) -> &Names {
        match &self.nodes[folder] {
            Kind::Folder { now, .. } => now,
            Kind::File(_) => panic!("a file has no names"),
        }
    }

    /// The folder of a path, and the name in it.
    fn resolve(&self, path: &str) -> (Node, String) {
        let mut parts: Vec<&str> = path.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        let folder = parts.into_iter().fold(ROOT, |folder, part| self.names(folder)[part]);
        (folder, name.to_owned())
    }

    fn name(&mut self, path: &str, node: Node) {
        let (folder, name) = self.resolve(path);
        self.rename(node, vec![(folder, name, Some(node))]);
    }

    fn rename(&mut self, about: Node, edits: Vec<(Node, String, Option<Node>)>) {
        for (folder, name, node) in &edits {
            let Kind::Folder { now, .. } = &mut self.nodes[*folder] else { continue };
            match node {
                Some(node) => now.insert(name.clone(), *node),
                None => now.remove(name),
            };
        }
        self.namings.push(Naming { event: self.events, about, edits });
    }

    /// Changes of files outside the folder are nobody's.
    fn change(&mut self, inode: u64, change: Change) {
        let node = self.inodes.get(&inode);
        if let Some(Kind::File(file)) = node.map(|node| &mut self.nodes[*node]) {
            file.pending.push((self.events, change));
        }
    }

    fn sync(&mut self, thread: u32, inode: u64) {
        let Some(node) = self.inodes.get(&inode).copied() else { return };
        let begin = self.syncs.remove(&thread).unwrap_or(0);
        match &mut self.nodes[node] {
            Kind::File(file) => {
                let done = file.pending.partition_point(|(event, _)| *event < begin);
                let done: Vec<_> = file.pending.drain(..done).collect();
                done.iter().for_each(|(_, change)| apply(change, &mut file.durable));
            }
            Kind::Folder { .. } => self.sync_folder(node, begin),
        }
    }

    fn sync_folder(&mut self, folder: Node, begin: usize) {
        let mut done: Vec<bool> = Vec::new();
        done.extend(self.namings.iter().map(|n| n.event < begin && n.concerns(folder)));
        for later in (0..done.len()).rev().filter(|nth| done[*nth]).collect::<Vec<_>>() {
            self.with_earlier(later, &mut done);
        }
        let mut nth = 0;
        let namings = std::mem::take(&mut self.namings);
        let (durable, pending) = namings.into_iter().partition(|_| {
            nth += 1;
            done[nth - 1]
        });
        self.namings = pending;
        let durable: Vec<Naming> = durable;
        for (folder, name, node) in durable.into_iter().flat_map(|naming| naming.edits) {
            let Kind::Folder { durable, .. } = &mut self.nodes[folder] else { continue };
            match node {
                Some(node) => durable.insert(name, node),
                None => durable.remove(&name),
            };
        }
    }

    /// What the naming at `later` follows is durable with it.
    fn with_earlier(&self, later: usize, done: &mut [bool]) {
        for earlier in (0..later).rev() {
            if !done[earlier] && self.namings[later].follows(&self.namings[earlier]) {
                done[earlier] = true;
                self.with_earlier(earlier, done);
            }
        }
    }
}

fn empty_folder() -> Kind {
    Kind::Folder { now: Names::new(), durable: Names::new() }
}

/// Does a change to `content`.
pub fn apply(change: &Change, content: &mut Vec<u8>) {
    match change {
        Change::Write { at, bytes } => write(content, *at, bytes),
        Change::Size(bytes) => content.resize(usize::try_from(*bytes).unwrap(), 0),
    }
}

/// Writes `bytes` at `at`; what lies between the end and there is zero.
pub fn write(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).unwrap();
    let end = at + bytes.len();
    content.resize(content.len().max(end), 0);
    content[at..end].copy_from_slice(bytes);
}
