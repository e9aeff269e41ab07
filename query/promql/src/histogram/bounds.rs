//! The bounds of exponential buckets, to the last bit as Prometheus has them: they tell buckets apart, and the API
//! prints them.

use super::{MAX_SCHEMA, MIN_SCHEMA};

/// Bounds of the finest schema between 0.5 and 1; those of coarser schemas are among them.
const FRACTIONS: [f64; 1 << MAX_SCHEMA] = fractions();

/// The upper bound (by its absolute value) of an exponential bucket.
pub(super) fn exponential_bound(index: i64, schema: i32) -> f64 {
    let schema = schema.clamp(MIN_SCHEMA, MAX_SCHEMA);
    let (fraction, exponent) = if schema <= 0 {
        (0.5, (index << -schema) + 1)
    } else {
        let place = (index & ((1 << schema) - 1)) << (MAX_SCHEMA - schema);
        let fraction = usize::try_from(place).ok().and_then(|place| FRACTIONS.get(place));
        (fraction.copied().unwrap_or(0.5), (index >> schema) + 1)
    };
    // The bound after the largest number would be +Inf, but +Inf has a bucket of its own.
    if exponent == 1025 && fraction == 0.5 {
        return f64::MAX;
    }
    scaled(fraction, exponent)
}

/// A number times a power of two, rounded only once.
fn scaled(number: f64, exponent: i64) -> f64 {
    let mut exponent = exponent.clamp(-2200, 2200);
    let mut number = number;
    while exponent > 1023 {
        number *= power_of_two(1023);
        exponent -= 1023;
    }
    while exponent < -1022 {
        // As far as a number without loss of digits becomes at the last step only.
        number *= power_of_two(-969);
        exponent += 969;
    }
    number * power_of_two(exponent)
}

/// For exponents of normal numbers.
const fn power_of_two(exponent: i64) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// From schema to schema: every second bound is one of the schema before, and each of the others follows from its
/// neighbour.
const fn fractions() -> [f64; 1 << MAX_SCHEMA] {
    let mut bounds = [0.5; 1 << MAX_SCHEMA];
    let mut schema = 1;
    while schema <= MAX_SCHEMA {
        let factor = root(power_of_two(-(schema as i64)));
        let stride = 1 << (MAX_SCHEMA - schema);
        let mut place = stride;
        while place < bounds.len() {
            bounds[place] = bounds[place - stride] * factor;
            place += 2 * stride;
        }
        schema += 1;
    }
    bounds
}

/// Two to the power of a half or less, as Go computes it: by the rational approximation of FreeBSD's `exp`. That of the
/// platform differs in the last bit.
const fn root(exponent: f64) -> f64 {
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const TERMS: [f64; 5] = [
        0.166_666_666_666_666_66,
        -0.002_777_777_777_701_559_3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238_5e-8,
    ];
    // A half is rounded up.
    let whole = if exponent < 0.5 { 0.0 } else { 1.0 };
    let rest = exponent - whole;
    let (high, low) = (rest * LN2_HIGH, -rest * LN2_LOW);
    let r = high - low;
    let square = r * r;
    let series = TERMS[0] + square * (TERMS[1] + square * (TERMS[2] + square * (TERMS[3] + square * TERMS[4])));
    let c = r - square * series;
    let result = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    if whole == 0.0 { result } else { result * 2.0 }
}

#[cfg(test)]
mod tests {
    use super::exponential_bound;

    #[test]
    fn powers_of_two_are_exact_in_every_schema() {
        for schema in -4..=8 {
            for exponent in [-1074_i32, -1073, -1022, -3, 0, 1, 10, 1023] {
                let (index, rest) = if schema <= 0 {
                    (exponent >> -schema, exponent & ((1 << -schema) - 1))
                } else {
                    (exponent << schema, 0)
                };
                if rest == 0 {
                    let expected =
                        if exponent < -1022 { f64::from_bits(1 << (exponent + 1074)) } else { 2_f64.powi(exponent) };
                    assert_eq!(exponential_bound(i64::from(index), schema), expected, "{schema} {exponent}");
                }
            }
        }
    }

    #[test]
    fn bounds_are_those_of_prometheus_to_the_last_bit() {
        // As its API prints them.
        let bound = |index: i64, schema: i32| format!("{}", exponential_bound(index, schema) / 2.0);
        assert_eq!(bound(1, 1), "0.7071067811865475");
        assert_eq!([1, 3].map(|index| bound(index, 2)), ["0.5946035575013605", "0.8408964152537144"]);
        let third = ["0.5452538663326288", "0.6484197773255048", "0.7711054127039704", "0.9170040432046711"];
        assert_eq!([1, 3, 5, 7].map(|index| bound(index, 3)), third);
        let fourth = ["0.5221368912137069", "0.5693943173783458", "0.620928906036742", "0.6771277734684463"];
        assert_eq!([1, 3, 5, 7].map(|index| bound(index, 4)), fourth);
        assert_eq!([9, 15].map(|index| bound(index, 4)), ["0.7384130729697496", "0.9576032806985735"]);
        assert_eq!([1, 13].map(|index| bound(index, 5)), ["0.5109485743270583", "0.6626183215798706"]);
    }

    #[test]
    fn the_largest_bound_is_no_infinity() {
        assert_eq!(exponential_bound(1024, 0), f64::MAX);
        assert_eq!(exponential_bound(1 << 18, 8), f64::MAX);
        assert_eq!(exponential_bound(64, -4), f64::MAX);
        assert_eq!(exponential_bound(1025, 0), f64::INFINITY);
        assert_eq!(exponential_bound(-1075, 0), 0.0);
        assert_eq!(exponential_bound(i64::from(i32::MAX), -4), f64::INFINITY);
        assert_eq!(exponential_bound(i64::from(i32::MIN), -4), 0.0);
    }
}
