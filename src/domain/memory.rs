//! Memory limits and use as Linux reports them: `/proc` and both versions of control groups (kernel documentation,
//! `admin-guide/cgroup-v1/memory.rst` and `admin-guide/cgroup-v2.rst`).

/// A version of the memory controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroup {
    /// Version 1.
    V1,
    /// Version 2, the unified hierarchy.
    V2,
}

impl Cgroup {
    /// The file with the limit.
    pub const fn limit_file(self) -> &'static str {
        match self {
            Self::V1 => "memory.limit_in_bytes",
            Self::V2 => "memory.max",
        }
    }

    /// The file with the current use.
    pub const fn usage_file(self) -> &'static str {
        match self {
            Self::V1 => "memory.usage_in_bytes",
            Self::V2 => "memory.current",
        }
    }
}

/// Returns the control groups that account for the memory of the process, read from `/proc/self/cgroup`: its own group
/// first, then the root of the mount. A container sees its own group as that root.
pub fn cgroups(text: &str) -> Vec<(Cgroup, String)> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (kind, mount) = if controllers.is_empty() {
            (Cgroup::V2, "sys/fs/cgroup")
        } else if controllers.split(',').any(|name| name == "memory") {
            (Cgroup::V1, "sys/fs/cgroup/memory")
        } else {
            continue;
        };
        found.push((kind, format!("{mount}/{}", path.trim_start_matches('/'))));
        found.push((kind, mount.to_owned()));
    }
    found
}

/// Reads a number of bytes; `max`, or a number from 2⁶⁰, is no limit.
pub fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < 1 << 60)
}

/// Returns the bytes of a group's page cache from its `memory.stat`: `total_cache` in version 1, `file` in version 2.
pub fn page_cache(text: &str) -> u64 {
    let of = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    };
    of("total_cache").or_else(|| of("file")).unwrap_or(0)
}

/// Returns the bytes of memory of the machine, from `/proc/meminfo`.
pub fn machine(text: &str) -> Option<u64> {
    kibibytes(text, "MemTotal:")
}

/// Returns the resident bytes of the process, from `/proc/self/status`.
pub fn resident(text: &str) -> Option<u64> {
    kibibytes(text, "VmRSS:")
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    number.checked_mul(1024)
}
