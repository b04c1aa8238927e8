//! Numbers with units on the command line.

use std::time::Duration;

/// `500ms`, `3s`, `2m`; without a unit, seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let seconds = scaled(text, &units).ok_or("expected a time such as 500ms or 3s")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "the time is out of range".to_owned())
}

/// `512MB`, `2GB`, `1GiB`; without a unit, bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let units = [
        ("KiB", 1024.0),
        ("MiB", 1048576.0),
        ("GiB", 1073741824.0),
        ("KB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("TB", 1e12),
        ("K", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("B", 1.0),
    ];
    let n = scaled(text, &units).ok_or("expected a number of bytes such as 512MB or 2GiB")?;
    if (0.0..9e18).contains(&n) { Ok(n as u64) } else { Err("the number of bytes is out of range".into()) }
}

fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let unit = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, *scale)));
    let (number, scale) = unit.unwrap_or((text, 1.0));
    number.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).map(|n| n * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_scale() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("3"), Ok(Duration::from_secs(3)));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        assert_eq!(bytes("512MB"), Ok(512_000_000));
        assert!(time("-1s").is_err() && time("soon").is_err() && bytes("nan").is_err());
    }
}
