//! What the kernel tells about processes and disks.

use std::{fs, path::Path};

use crate::Result;

/// Ticks in which the kernel counts CPU time: 100 a second on every Linux there is.
const TICKS: f64 = 100.0;

/// Bytes of a sector in the statistics of every disk, whatever its own sectors are.
const SECTOR: u64 = 512;

/// The CPU time of this thread in seconds.
pub(crate) fn thread_cpu() -> Result<f64> {
    cpu("/proc/thread-self/stat")
}

/// The CPU time of a process in seconds.
pub(crate) fn process_cpu(pid: u32) -> Result<f64> {
    cpu(&format!("/proc/{pid}/stat"))
}

fn cpu(path: &str) -> Result<f64> {
    let stat = fs::read_to_string(path)?;
    // The name in brackets may have spaces in it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().collect();
    let ticks: u64 = fields.get(11).ok_or("no utime")?.parse::<u64>()?
        + fields.get(12).ok_or("no stime")?.parse::<u64>()?;
    Ok(ticks as f64 / TICKS)
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    Ok(status(&format!("/proc/{pid}/status"), "VmRSS:")? * 1024)
}

/// The most that it ever was.
pub(crate) fn resident_high_water(pid: u32) -> Result<u64> {
    Ok(status(&format!("/proc/{pid}/status"), "VmHWM:")? * 1024)
}

/// How often the threads of a process have gone to sleep by themselves. Those
/// that have ended count no more.
pub(crate) fn voluntary_switches(pid: u32) -> Result<u64> {
    let mut switches = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status_file = thread?.path().join("status");
        switches += status(&status_file.to_string_lossy(), "voluntary_ctxt_switches:")?;
    }
    Ok(switches)
}

fn status(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_ascii_whitespace().next());
    Ok(number.ok_or_else(|| format!("{path} has no {name}"))?.parse()?)
}

/// The disk that a directory is on.
pub(crate) struct Disk {
    /// `major:minor`; 0 as major is none that has statistics.
    device: String,
    /// The type of the file system.
    pub(crate) file_system: String,
}

impl Disk {
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let directory = directory.canonicalize()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mount = mounts
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(' ');
                let (device, point) = (fields.nth(2)?, fields.nth(1)?);
                let file_system = line.split(" - ").nth(1)?.split(' ').next()?;
                directory.starts_with(point).then_some((point.len(), device, file_system))
            })
            // Of two on the same point the later one covers the other.
            .max_by_key(|(length, ..)| *length)
            .ok_or("the directory is on no file system")?;
        Ok(Self { device: mount.1.into(), file_system: mount.2.into() })
    }

    /// Whether it forgets everything at a power cut.
    pub(crate) fn is_memory(&self) -> bool {
        ["tmpfs", "ramfs", "devtmpfs"].contains(&self.file_system.as_str())
    }

    /// Bytes written to the device since the system started, by whomever.
    pub(crate) fn bytes_written(&self) -> Result<u64> {
        let path = format!("/sys/dev/block/{}/stat", self.device);
        let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let sectors = stat.split_ascii_whitespace().nth(6).ok_or("no sectors written")?;
        Ok(sectors.parse::<u64>()? * SECTOR)
    }
}
