//! Limits how many queues are in memory at once.
//!
//! The size of answers is not known before they arrive. A run therefore begins with as many queues as have room for one
//! large answer each. The number doubles after each round in which memory stayed below 50 % of the limit. At 80 % it is
//! halved, caches are dropped, and no queue is claimed until memory is below 70 %. One queue is always allowed, so that
//! the memory of another process cannot block the run for ever. `llm/answers.rs` bounds the memory of answers that are
//! arriving.

use std::path::{Path, PathBuf};

use crate::domain::memory::{self, Cgroup};

/// The memory of one queue with a large answer: its bytes, the text, the items and the row.
const LARGE: u64 = 8 << 20;

/// The number of queues that memory has room for.
#[derive(Debug)]
pub(in crate::engine) struct Memory {
    gauge: Option<MemoryLimit>,
    /// How many queues may be in memory at once now.
    window: usize,
    most: usize,
    /// Queues that ended since the window was set.
    ended: usize,
    pressed: bool,
}

/// A limit of memory, and the source of the amount in use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MemoryLimit {
    limit: u64,
    used: Used,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Used {
    /// The resident memory of this process.
    Resident,
    /// The memory of the container without its page cache, which the kernel frees before it kills a process.
    Container(PathBuf, Cgroup),
}

impl Memory {
    /// Room for `most` queues, below the given limit, or else the container's or machine's.
    pub(in crate::engine) fn new(given: Option<u64>, most: usize) -> Self {
        Self::under(MemoryLimit::find(Path::new("/"), given), most)
    }

    fn under(gauge: Option<MemoryLimit>, most: usize) -> Self {
        let room = gauge
            .as_ref()
            .map_or(u64::MAX, |gauge| gauge.limit / 10 * 8 / LARGE);
        Self {
            gauge,
            window: usize::try_from(room).unwrap_or(most).clamp(1, most),
            most,
            ended: 0,
            pressed: false,
        }
    }

    /// The limit that the process stays below, if one is known.
    pub(in crate::engine) fn limit(&self) -> Option<u64> {
        self.gauge.as_ref().map(|gauge| gauge.limit)
    }

    /// How many queues may be claimed while this many are in memory.
    pub(in crate::engine) const fn room(&self, held: usize) -> usize {
        if self.pressed {
            return if held == 0 { 1 } else { 0 };
        }
        self.window.saturating_sub(held)
    }

    /// Counts a queue that ended.
    pub(in crate::engine) const fn ended(&mut self) {
        self.ended += 1;
    }

    /// Reads how much memory is used. Returns true when caches should be dropped: once, when the limit comes near.
    pub(in crate::engine) fn look(&mut self) -> bool {
        let Some((used, limit)) = self
            .gauge
            .as_ref()
            .and_then(|gauge| Some((gauge.read()?, gauge.limit)))
        else {
            return false;
        };
        self.noticed(used, limit)
    }

    fn noticed(&mut self, used: u64, limit: u64) -> bool {
        let share = used.saturating_mul(100) / limit.max(1);
        let before = self.pressed;
        self.pressed = share >= if before { 70 } else { 80 };
        if self.pressed && !before {
            self.window = (self.window / 2).max(1);
            self.ended = 0;
        } else if share < 50 && self.ended >= self.window {
            self.window = self.window.saturating_mul(2).min(self.most);
            self.ended = 0;
        }
        self.pressed && !before
    }

    /// The message for the display while memory is short.
    pub(in crate::engine) fn wait(&self) -> Option<String> {
        self.pressed.then(|| "waiting for memory".to_owned())
    }
}

impl MemoryLimit {
    /// The limit in force: the given one, or else the lower one of the container's and the machine's.
    fn find(root: &Path, given: Option<u64>) -> Option<Self> {
        if let Some(limit) = given {
            return Some(Self {
                limit,
                used: Used::Resident,
            });
        }
        let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
        let machine = read("proc/meminfo").and_then(|text| memory::machine(&text));
        let container = read("proc/self/cgroup").and_then(|text| {
            let mut places = memory::cgroups(&text).into_iter();
            places.find_map(|(kind, folder)| {
                let folder = root.join(folder);
                let limit = std::fs::read_to_string(folder.join(kind.limit_file())).ok()?;
                Some((kind, folder, memory::limit(&limit)?))
            })
        });
        match (container, machine) {
            (Some((kind, folder, limit)), machine) if machine.is_none_or(|all| limit < all) => Some(Self {
                limit,
                used: Used::Container(folder, kind),
            }),
            (_, machine) => machine.map(|limit| Self {
                limit,
                used: Used::Resident,
            }),
        }
    }

    fn read(&self) -> Option<u64> {
        match &self.used {
            Used::Resident => memory::resident(&std::fs::read_to_string("/proc/self/status").ok()?),
            Used::Container(folder, kind) => {
                let used = std::fs::read_to_string(folder.join(kind.usage_file())).ok()?;
                let cache = std::fs::read_to_string(folder.join("memory.stat")).ok()?;
                Some(memory::limit(&used)?.saturating_sub(memory::page_cache(&cache)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(limit: u64, most: usize) -> Memory {
        let used = Used::Resident;
        Memory::under(Some(MemoryLimit { limit, used }), most)
    }

    #[test]
    fn small_memory_begins_with_few_queues_and_takes_more_when_they_turn_out_small() {
        let mut memory = of(128 << 20, 100);
        assert_eq!(memory.room(0), 12);
        assert!(!memory.noticed(20, 100));
        assert_eq!(memory.room(0), 12, "nothing is known of the answers yet");
        (0..12).for_each(|_| memory.ended());
        assert!(!memory.noticed(60, 100));
        assert_eq!(memory.room(0), 12, "too full to take more");
        assert!(!memory.noticed(49, 100));
        assert_eq!((memory.room(0), memory.room(20)), (24, 4));
        assert_eq!(of(16 << 30, 1000).room(0), 1000);
        assert_eq!(Memory::under(None, 7).room(0), 7);
    }

    #[test]
    fn above_80_percent_nothing_is_taken_until_below_70() {
        let mut memory = of(128 << 20, 100);
        assert!(memory.noticed(80, 100), "caches are given back");
        assert_eq!((memory.room(3), memory.room(0)), (0, 1));
        assert!(!memory.noticed(75, 100), "once");
        assert_eq!(memory.room(3), 0);
        assert!(memory.wait().is_some());
        assert!(!memory.noticed(69, 100));
        assert_eq!((memory.room(3), memory.wait()), (3, None));
    }

    #[test]
    fn the_limit_of_a_container_goes_before_the_machine() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let find = |given| MemoryLimit::find(root.path(), given);
        assert_eq!(find(None), None);
        write("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\n");
        assert_eq!(find(None).unwrap().limit, 1_024_000);
        write("proc/self/cgroup", "0::/box\n");
        write("sys/fs/cgroup/box/memory.max", "max\n");
        assert_eq!(find(None).unwrap().used, Used::Resident);
        write("sys/fs/cgroup/box/memory.max", "500000\n");
        write("sys/fs/cgroup/box/memory.current", "400000\n");
        write("sys/fs/cgroup/box/memory.stat", "anon 1\nfile 150000\nkernel 2\n");
        let found = find(None).unwrap();
        assert_eq!((found.limit, found.read()), (500_000, Some(250_000)));
        assert_eq!(find(Some(77)).unwrap().limit, 77);
        write("proc/self/cgroup", "5:memory:/old\n1:name=systemd:/\n");
        write("sys/fs/cgroup/memory/old/memory.limit_in_bytes", "9000\n");
        write("sys/fs/cgroup/memory/old/memory.usage_in_bytes", "8000\n");
        write(
            "sys/fs/cgroup/memory/old/memory.stat",
            "cache 3000\nrss 5000\ntotal_cache 3000\n",
        );
        let found = find(None).unwrap();
        assert_eq!((found.limit, found.read()), (9000, Some(5000)));
    }
}
