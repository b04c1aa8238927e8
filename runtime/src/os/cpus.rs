//! How many processors this process may use: its affinity mask and its control group's quota.
#![cfg_attr(target_os = "linux", allow(unsafe_code))]

/// Processors that threads of this process can keep busy; at least one.
pub(crate) fn usable_cpus() -> usize {
    let by_mask = affinity().unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    by_mask.min(quota().unwrap_or(usize::MAX)).max(1)
}

#[cfg(target_os = "linux")]
fn affinity() -> Option<usize> {
    // SAFETY: a cpu_set_t is an array of integers, for which zero is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours and its size is given; 0 means this thread.
    let rc = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    // SAFETY: counts the bits of the set that the call filled in.
    let count = (rc == 0).then(|| unsafe { libc::CPU_COUNT(&set) })?;
    usize::try_from(count).ok().filter(|n| *n > 0)
}

#[cfg(not(target_os = "linux"))]
fn affinity() -> Option<usize> {
    None
}

/// The quota of the control group of this process and of those above it.
fn quota() -> Option<usize> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let read = |path: &str| std::fs::read_to_string(path).ok();
    groups.lines().filter_map(|line| group_quota(line, &read)).min()
}

/// The smallest quota on the way from the group of one line of `/proc/self/cgroup` to the root.
fn group_quota(line: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<usize> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, mut path) = (fields.next()?, fields.next()?);
    let mut least = None;
    loop {
        let here = if controllers.is_empty() {
            read(&format!("/sys/fs/cgroup{path}/cpu.max")).and_then(|text| whole_cpus(&text))
        } else if controllers.split(',').any(|c| c == "cpu") {
            let file = |name: &str| read(&format!("/sys/fs/cgroup/cpu{path}/{name}"));
            file("cpu.cfs_quota_us")
                .zip(file("cpu.cfs_period_us"))
                .and_then(|(quota, period)| whole_cpus(&format!("{quota} {period}")))
        } else {
            None
        };
        least = [least, here].into_iter().flatten().min();
        match path.rfind('/') {
            Some(at) => path = &path[..at],
            None => return least,
        }
    }
}

/// `quota period` as a number of processors, rounded up; `None` for no limit.
fn whole_cpus(text: &str) -> Option<usize> {
    let mut numbers = text.split_whitespace();
    let (quota, period): (u64, u64) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    usize::try_from(quota.div_ceil(period.max(1))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_round_up_and_the_smallest_on_the_path_counts() {
        assert_eq!(whole_cpus("150000 100000\n"), Some(2));
        assert_eq!(whole_cpus("max 100000\n"), None);
        assert_eq!(whole_cpus("-1 100000"), None);
        let v2 = |path: &str| match path {
            "/sys/fs/cgroup/a/b/cpu.max" => Some("max 100000".to_owned()),
            "/sys/fs/cgroup/a/cpu.max" => Some("300000 100000".to_owned()),
            _ => None,
        };
        assert_eq!(group_quota("0::/a/b", &v2), Some(3));
        let v1 = |path: &str| match path {
            "/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us" => Some("50000".to_owned()),
            "/sys/fs/cgroup/cpu/x/cpu.cfs_period_us" => Some("100000".to_owned()),
            _ => None,
        };
        assert_eq!(group_quota("4:cpu,cpuacct:/x", &v1), Some(1));
        assert_eq!(group_quota("5:memory:/x", &v1), None);
    }

    #[test]
    fn there_is_a_processor() {
        assert!(usable_cpus() >= 1);
    }
}
