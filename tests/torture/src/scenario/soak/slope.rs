//! Whether something grows.

use serde::Serialize;

/// 95 % of a normal distribution lie so many standard deviations around its middle.
const Z95: f64 = 1.96;

/// A least-squares slope with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Slope {
    pub(super) per_hour: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) points: u64,
}

/// The slope of points (hours, value) of several lives of a process, each of which has a level of its own. `None` of too few.
pub(super) fn slope(lives: &[Vec<(f64, f64)>]) -> Option<Slope> {
    let mut centred = Vec::new();
    let mut levels = 0_usize;
    for life in lives.iter().filter(|life| life.len() >= 2) {
        let count = life.len() as f64;
        let (x, y) = life.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
        centred.extend(life.iter().map(|point| (point.0 - x, point.1 - y)));
        levels += 1;
    }
    let free = centred.len().checked_sub(levels + 1).filter(|free| *free > 0)?;
    let xx: f64 = centred.iter().map(|(x, _)| x * x).sum();
    let xy: f64 = centred.iter().map(|(x, y)| x * y).sum();
    if xx <= 0.0 {
        return None;
    }
    let per_hour = xy / xx;
    let rest: f64 = centred.iter().map(|(x, y)| (y - per_hour * x).powi(2)).sum();
    let error = (rest / free as f64 / xx).sqrt();
    let (low, high) = (per_hour - Z95 * error, per_hour + Z95 * error);
    Some(Slope { per_hour, low, high, points: centred.len() as u64 })
}

/// The least value of each stretch of so many hours: what is left between the peaks of seals, merges and queries.
pub(super) fn floors(points: &[(f64, f64)], hours: f64) -> Vec<(f64, f64)> {
    let mut floors: Vec<(f64, f64)> = Vec::new();
    let mut stretch = None;
    for &(at, value) in points {
        let this = (at / hours).floor();
        match floors.last_mut() {
            Some(last) if stretch == Some(this) => {
                if value < last.1 {
                    *last = (at, value);
                }
            }
            _ => floors.push((at, value)),
        }
        stretch = Some(this);
    }
    floors
}

pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with noise that repeats.
    fn line(from: f64, per_hour: f64, level: f64) -> Vec<(f64, f64)> {
        let noise = [3.0, -1.0, 2.0, -4.0, 0.0];
        (0..100_usize)
            .map(|place| {
                let at = from + place as f64 / 50.0;
                (at, level + per_hour * at + noise[place % noise.len()])
            })
            .collect()
    }

    #[test]
    fn growth_is_told_from_noise_and_from_a_restart() {
        let flat = slope(&[line(0.0, 0.0, 80.0), line(2.0, 0.0, 300.0)]).expect("enough points");
        assert!(flat.low < 0.0 && flat.high > 0.0 && flat.high < 1.0, "{flat:?}");
        let grows = slope(&[line(0.0, 5.0, 80.0), line(2.0, 5.0, 60.0)]).expect("enough points");
        assert!((grows.per_hour - 5.0).abs() < 0.5 && grows.low > 4.0, "{grows:?}");
        assert_eq!(slope(&[vec![(0.0, 1.0), (1.0, 2.0)]]), None);
    }

    #[test]
    fn floors_are_the_least_of_each_stretch() {
        let points = [(0.0, 5.0), (0.4, 3.0), (0.9, 4.0), (1.1, 9.0), (1.2, 7.0), (3.0, 1.0)];
        assert_eq!(floors(&points, 1.0), [(0.4, 3.0), (1.2, 7.0), (3.0, 1.0)]);
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
