//! Qini and uplift curves (Radcliffe 2007; Devriendt et al. 2020), evaluated after each group of
//! equal scores.

use super::ranking::{Arm, Ranking};
use super::trial::Case;
use crate::statistics::sum::Sum;

/// The best so many cases: both arms.
#[derive(Clone, Copy, Default)]
struct Best {
    cases: f64,
    treated: (f64, f64),
    control: (f64, f64),
}

/// Weight and outcome of an arm, as numbers to divide.
fn part(arm: &Arm) -> (f64, f64) {
    (arm.weight.value(), arm.outcome.value())
}

impl Best {
    /// Outcomes won by treating: those of the treated, less those that they would have had untreated.
    fn qini(&self) -> f64 {
        self.treated.1 - share(self.control) * self.treated.0
    }

    /// The difference of the arms' rates.
    fn uplift(&self) -> f64 {
        share(self.treated) - share(self.control)
    }

    fn gain(&self) -> f64 {
        self.uplift() * self.cases
    }

    /// A place between two, by the share of the way.
    fn towards(&self, next: &Self, way: f64) -> Self {
        let between = |a: f64, b: f64| a + (b - a) * way;
        let both = |a: (f64, f64), b: (f64, f64)| (between(a.0, b.0), between(a.1, b.1));
        Self {
            cases: between(self.cases, next.cases),
            treated: both(self.treated, next.treated),
            control: both(self.control, next.control),
        }
    }
}

/// Outcome per weight; 0 of an arm that has nobody yet.
fn share((weight, outcome): (f64, f64)) -> f64 {
    if weight > 0.0 { outcome / weight } else { 0.0 }
}

/// The area between a curve and the straight line from its start to its end.
#[derive(Default)]
struct Area {
    sum: Sum,
    last: (f64, f64),
}

impl Area {
    fn to(&mut self, x: f64, y: f64) {
        self.sum.add((x - self.last.0) * (y + self.last.1) / 2.0);
        self.last = (x, y);
    }

    fn above_line(&self) -> f64 {
        self.sum.value() - self.last.0 * self.last.1 / 2.0
    }
}

/// Areas of the two curves.
#[derive(Debug)]
pub struct Areas {
    /// Area of the Qini curve above the line, as a share of the perfect order's; None for outcomes
    /// other than 0 and 1, and where no order is better than another.
    pub qini: Option<f64>,
    /// The same of the uplift curve.
    pub auuc: Option<f64>,
    /// The Qini area over the square of the number of cases (Radcliffe's Q): defined without events.
    pub qini_area: f64,
}

/// None where an arm is missing.
pub fn areas(ranking: &Ranking) -> Option<Areas> {
    if ranking.treated.cases == 0 || ranking.control.cases == 0 {
        return None;
    }
    let (mut qini, mut gain) = (Area::default(), Area::default());
    for best in steps(ranking) {
        qini.to(best.cases, best.qini());
        gain.to(best.cases, best.gain());
    }
    let squared = (ranking.n() as f64).powi(2);
    let perfect = ranking.binary.then(|| perfect(ranking));
    let normalised = |area: &Area, best: Option<f64>| {
        best.filter(|best| best.abs() > 1e-12 * squared).map(|best| area.above_line() / best)
    };
    Some(Areas {
        qini: normalised(&qini, perfect.map(|areas| areas.0)),
        auuc: normalised(&gain, perfect.map(|areas| areas.1)),
        qini_area: qini.above_line() / squared,
    })
}

/// What has accumulated after each group of equal scores.
fn steps(ranking: &Ranking) -> impl Iterator<Item = Best> {
    let (mut treated, mut control) = (Arm::default(), Arm::default());
    let mut best = Best::default();
    ranking.groups().map(move |group| {
        if ranking.counts() {
            // By products, since nobody can foretell a branch on what chance decided.
            for case in group {
                let (treated, outcome) = (f64::from(case.treated()), case.outcome());
                best.treated = (best.treated.0 + treated, best.treated.1 + treated * outcome);
                best.control = (best.control.0 + (1.0 - treated), best.control.1 + (1.0 - treated) * outcome);
            }
            best.cases += group.len() as f64;
            return best;
        }
        for case in group {
            let arm = if case.treated() { &mut treated } else { &mut control };
            arm.add(ranking.weight(case), case.outcome());
        }
        let cases = (treated.cases + control.cases) as f64;
        Best { cases, treated: part(&treated), control: part(&control) }
    })
}

/// The areas of the orders that put converted treated cases first and converted controls last.
fn perfect(ranking: &Ranking) -> (f64, f64) {
    // Four kinds of case: treated or not, converted or not.
    let mut kinds = [Arm::default(); 4];
    if ranking.counts() {
        let [held, treated, held_events, treated_events] = ranking.kinds;
        kinds = [(held, 0), (held_events, held_events), (treated, 0), (treated_events, treated_events)]
            .map(|(cases, events)| Arm::counted(cases, events));
    } else {
        let kind = |case: &Case| usize::from(case.treated()) * 2 + usize::from(case.outcome() != 0.0);
        for case in ranking.cases {
            kinds[kind(case)].add(ranking.weight(case), case.outcome());
        }
    }
    let area = |places: [u8; 4], height: fn(&Best) -> f64| {
        let (mut area, mut best) = (Area::default(), Best::default());
        for place in (0..4).rev() {
            for (kind, arm) in kinds.iter().enumerate().filter(|(kind, _)| places[*kind] == place) {
                let (weight, outcome) = part(arm);
                let side = if kind >= 2 { &mut best.treated } else { &mut best.control };
                *side = (side.0 + weight, side.1 + outcome);
                best.cases += arm.cases as f64;
            }
            area.to(best.cases, height(&best));
        }
        area.above_line()
    };
    let converted_controls_lead = kinds[1].cases > kinds[2].cases;
    let gain_places = if converted_controls_lead { [2, 1, 0, 3] } else { [2, 0, 1, 3] };
    (area([1, 0, 1, 2], Best::qini), area(gain_places, Best::gain))
}

/// A point of the curves for a plot.
pub struct Point {
    pub share: f64,
    pub cases: i64,
    pub qini: f64,
    /// Where the Qini curve of a random order would be.
    pub qini_random: f64,
    /// None where an arm has nobody yet.
    pub uplift: Option<f64>,
    pub gain: f64,
    pub gain_random: f64,
}

/// The curves at `count` equal steps, and their start. Within a group of equal scores they are
/// straight. Empty where an arm is missing.
pub fn points(ranking: &Ranking, count: usize) -> Vec<Point> {
    if ranking.treated.cases == 0 || ranking.control.cases == 0 {
        return Vec::new();
    }
    let n = ranking.n();
    let (treated, control) = (part(&ranking.treated), part(&ranking.control));
    let end = Best { cases: n as f64, treated, control };
    let (mut before, mut after, mut steps) = (Best::default(), Best::default(), steps(ranking));
    (0..=count)
        .map(|i| {
            let cases = n * i / count;
            while after.cases < cases as f64
                && let Some(next) = steps.next()
            {
                (before, after) = (after, next);
            }
            let width = after.cases - before.cases;
            let way = if width > 0.0 { (cases as f64 - before.cases) / width } else { 0.0 };
            let here = before.towards(&after, way);
            let share = cases as f64 / n as f64;
            Point {
                share,
                cases: cases as i64,
                qini: here.qini(),
                qini_random: share * end.qini() + 0.0, // not -0
                uplift: (here.treated.0 > 0.0 && here.control.0 > 0.0).then(|| here.uplift()),
                gain: here.gain(),
                gain_random: share * end.gain() + 0.0,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplift::fixture;

    #[test]
    fn the_points_meet_the_line_at_both_ends() {
        let trial = fixture::trial(12, 3000, true);
        let ranking = Ranking::new(&trial);
        let points = points(&ranking, 100);
        assert_eq!(points.len(), 101);
        assert_eq!((points[0].qini, points[0].uplift, points[0].cases), (0.0, None, 0));
        let last = &points[100];
        assert_eq!((last.qini, last.gain, last.cases), (last.qini_random, last.gain_random, 3000));
        assert!(points[50].qini > points[50].qini_random);
        let more_than_cases = super::points(&Ranking::new(&fixture::trial(1, 10, false)), 50);
        assert_eq!(more_than_cases.len(), 51);
    }
}
