//! Scale of an axis: the position of a value, and the values that are named beside it.

/// Scale of an axis.
#[derive(Debug)]
pub(super) struct AxisScale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

/// Digits with which a logarithmic axis begins and ends.
const STEPS: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

/// Returns the power of ten at or below a value.
fn decade(value: f64) -> f64 {
    10_f64.powf(value.log10().floor())
}

impl AxisScale {
    pub(super) fn of(
        values: impl Iterator<Item = f64>,
        logarithmic: bool,
        from_zero: bool,
    ) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|v| v.is_finite() && (!logarithmic || *v > 0.0)) {
            (low, high) = (low.min(value), high.max(value));
        }
        if !low.is_finite() {
            (low, high) = (0.1, 1.0);
        }
        if logarithmic {
            let at = |value: f64, step: &f64| step * decade(value);
            let below = STEPS.iter().rev().find(|it| at(low, it) <= low * 1.000_1);
            let above = STEPS.iter().find(|it| at(high, it) >= high * 0.999_9);
            (low, high) = (
                at(low, below.unwrap_or(&1.0)),
                at(high, above.unwrap_or(&10.0)),
            );
        } else if from_zero {
            low = low.min(0.0);
        }
        if high <= low {
            high = if logarithmic {
                low * 10.0
            } else {
                low + low.abs().max(1.0)
            };
        }
        Self {
            low,
            high,
            logarithmic,
        }
    }

    /// Returns the position along the axis, from 0 to 1.
    pub(super) fn position(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            (value.max(self.low).log10() - self.low.log10())
                / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        part.clamp(0.0, 1.0)
    }

    /// Returns the values that are named beside the axis.
    pub(super) fn marks(&self) -> Vec<f64> {
        if !self.logarithmic {
            let step = |n: i32| self.low + (self.high - self.low) * f64::from(n) / 4.0;
            return (0..=4).map(step).collect();
        }
        // Within a few decades, the steps in between are named, too.
        let few = self.high / self.low < 300.0;
        let (mut marks, mut decade) = (Vec::new(), decade(self.low));
        while decade <= self.high * 1.000_1 && marks.len() < 40 {
            let steps = STEPS.iter().take(if few { 3 } else { 1 });
            marks.extend(steps.map(|step| step * decade));
            decade *= 10.0;
        }
        marks.retain(|it| (self.low * 0.999_9..=self.high * 1.000_1).contains(it));
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_by_ten_begin_and_end_near_the_values() {
        let scale = AxisScale::of([30.0, 700.0].into_iter(), true, false);
        assert!(
            scale.position(30.0) < 0.2 && scale.position(700.0) > 0.8,
            "{scale:?}"
        );
        let marks: Vec<_> = scale.marks().iter().map(|it| it.round()).collect();
        assert_eq!(marks, [20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0]);
        let scale = AxisScale::of([1.0, 20_000.0].into_iter(), true, false);
        assert_eq!(scale.marks().len(), 5);
    }

    #[test]
    fn an_even_axis_begins_at_zero() {
        let scale = AxisScale::of([2.0, 8.0].into_iter(), false, true);
        assert_eq!(scale.marks(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert!((scale.position(2.0) - 0.25).abs() < 1e-9);
    }
}
