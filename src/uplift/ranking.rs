//! A trial's cases by rank: who counts how much, and the contrast of the arms in any part.

use super::support::Support;
use super::trial::{Case, Trial, tied};
use crate::statistics::sum::{Sum, standard_error};

/// Sums of one arm.
#[derive(Clone, Copy, Default)]
pub struct Arm {
    pub cases: usize,
    /// Cases with an outcome other than zero.
    pub events: usize,
    pub weight: Sum,
    pub outcome: Sum,
}

impl Arm {
    pub fn add(&mut self, weight: f64, outcome: f64) {
        self.cases += 1;
        self.events += usize::from(outcome != 0.0);
        self.weight.add(weight);
        self.outcome.add(weight * outcome);
    }

    /// An arm whose cases count one each, of which so many have an outcome of 1.
    pub fn counted(cases: usize, events: usize) -> Self {
        let whole = |n: usize| Sum::from(n as f64);
        Self { cases, events, weight: whole(cases), outcome: whole(events) }
    }

    pub fn rate(&self) -> Option<f64> {
        (self.cases > 0).then(|| self.outcome.value() / self.weight.value())
    }
}

/// Treated against control in some part of the ranking.
pub struct Contrast {
    pub treated_rate: f64,
    pub control_rate: f64,
    /// None where no outcome varies: there is uncertainty, but these rows do not show it.
    pub se: Option<f64>,
}

impl Contrast {
    pub fn uplift(&self) -> f64 {
        self.treated_rate - self.control_rate
    }
}

/// A trial with what each case counts.
pub struct Ranking<'a> {
    pub cases: &'a [Case],
    pub treated: Arm,
    pub control: Arm,
    /// Whether every outcome is 0 or 1.
    pub binary: bool,
    /// Whether some cases were likelier to be treated than others.
    pub weighted: bool,
    /// The chance of those whose chance is not known: their share.
    share: f64,
    /// What brings the weights of each arm to a mean of 1.
    scale: (f64, f64),
    /// How many cases are held, treated, held with an outcome, treated with one.
    pub kinds: [usize; 4],
    /// None where all count alike.
    pub support: Option<Support>,
}

impl<'a> Ranking<'a> {
    pub fn new(trial: &'a Trial) -> Self {
        let cases = &*trial.rows;
        let (mut unknown, mut treated_unknown, mut binary) = (0usize, 0usize, true);
        let (mut least, mut greatest) = (1f64, 0f64);
        let mut kinds = [0; 4];
        for case in cases {
            match case.propensity() {
                Some(p) => (least, greatest) = (least.min(p), greatest.max(p)),
                None => {
                    unknown += 1;
                    treated_unknown += usize::from(case.treated());
                }
            }
            binary &= case.outcome() == 0.0 || case.outcome() == 1.0;
            kinds[kind(case)] += 1;
        }
        let share = treated_unknown as f64 / unknown.max(1) as f64;
        if unknown > 0 {
            (least, greatest) = (least.min(share), greatest.max(share));
        }
        let mut ranking = Self {
            cases,
            treated: Arm::default(),
            control: Arm::default(),
            binary,
            // Without a case the least is 1 and the greatest 0.
            weighted: greatest - least > 1e-9,
            share,
            scale: (1.0, 1.0),
            kinds,
            support: None,
        };
        ranking.measure_arms();
        if ranking.weighted {
            let scale = |arm: Arm| if arm.cases == 0 { 1.0 } else { arm.cases as f64 / arm.weight.value() };
            ranking.scale = (scale(ranking.treated), scale(ranking.control));
            ranking.measure_arms();
            ranking.support = Some(Support::of(cases, |case| ranking.weight(case)));
        }
        ranking
    }

    fn measure_arms(&mut self) {
        if self.counts() {
            let [held, treated, held_events, treated_events] = self.kinds;
            self.treated = Arm::counted(treated + treated_events, treated_events);
            self.control = Arm::counted(held + held_events, held_events);
            return;
        }
        (self.treated, self.control) = self.arms(self.cases);
    }

    pub fn n(&self) -> usize {
        self.cases.len()
    }

    /// Whether every case counts as one and converted or did not: then sums are whole numbers, and plain addition exact.
    pub fn counts(&self) -> bool {
        self.binary && !self.weighted
    }

    /// P(treated).
    pub fn propensity(&self, case: &Case) -> f64 {
        case.propensity().unwrap_or(self.share)
    }

    /// One over the chance of the arm that the case is in, to a mean of 1 in each arm; 1 where
    /// that chance is the same for all.
    pub fn weight(&self, case: &Case) -> f64 {
        match (self.weighted, case.treated()) {
            (false, _) => 1.0,
            (true, true) => self.scale.0 / self.propensity(case),
            (true, false) => self.scale.1 / (1.0 - self.propensity(case)),
        }
    }

    /// The cases by groups of equal score, the best first.
    pub fn groups(&self) -> impl DoubleEndedIterator<Item = &'a [Case]> + use<'a> {
        self.cases.chunk_by(tied)
    }

    /// The group of equal scores around a rank: where it begins and ends.
    fn group_at(&self, rank: usize) -> Option<(usize, usize)> {
        let case = self.cases.get(rank)?;
        let start = self.cases.partition_point(|other| other.score() > case.score());
        let end = self.cases.partition_point(|other| other.score() >= case.score());
        Some((start, end))
    }

    /// The contrast in the best share of the cases. Of a group of equal scores that the limit
    /// divides, each case counts by the chance of being within: the order of the rows says nothing.
    pub fn top(&self, share: f64) -> Option<Contrast> {
        let limit = whole(self.n() as f64 * share);
        match self.group_at(limit as usize) {
            Some((start, end)) => {
                let within = (limit - start as f64) / (end - start) as f64;
                self.contrast(&[(&self.cases[..start], 1.0), (&self.cases[start..end], within)])
            }
            None => self.contrast(&[(self.cases, 1.0)]),
        }
    }

    /// The arms' weighted means in some cases, each part with its chance of belonging to them; None
    /// where an arm is missing. The variance is that of a ratio estimator, p(1 - p)/n without weights.
    pub fn contrast(&self, parts: &[(&[Case], f64)]) -> Option<Contrast> {
        if self.counts() {
            return count(parts);
        }
        // Control, treated.
        let (mut n, mut weight, mut outcome) = ([0.0; 2], [Sum::default(); 2], [Sum::default(); 2]);
        let (mut spread, mut squares) = ([Sum::default(); 2], [Sum::default(); 2]);
        let parts = || parts.iter().filter(|(_, chance)| *chance > 0.0);
        for (cases, chance) in parts() {
            for case in *cases {
                let (arm, w) = (usize::from(case.treated()), chance * self.weight(case));
                n[arm] += chance;
                weight[arm].add(w);
                squares[arm].add(w * self.weight(case));
                outcome[arm].add(w * case.outcome());
            }
        }
        if n.contains(&0.0) {
            return None;
        }
        let weight = weight.map(Sum::value);
        let rate = [outcome[0].value() / weight[0], outcome[1].value() / weight[1]];
        for (cases, chance) in parts() {
            for case in *cases {
                let arm = usize::from(case.treated());
                spread[arm].add(chance * (self.weight(case) * (case.outcome() - rate[arm])).powi(2));
            }
        }
        let variance: f64 = (0..2)
            .map(|arm| {
                let expected = self.support.map_or(0.0, |support| support.of_arm(arm, squares[arm].value()));
                spread[arm].value().max(expected) / weight[arm].powi(2)
            })
            .sum();
        let se = standard_error(variance, rate[0].abs().max(rate[1].abs()));
        Some(Contrast { treated_rate: rate[1], control_rate: rate[0], se })
    }

    /// The arms in some cases, treated first.
    pub fn arms(&self, cases: &[Case]) -> (Arm, Arm) {
        let (mut treated, mut control) = (Arm::default(), Arm::default());
        for case in cases {
            let arm = if case.treated() { &mut treated } else { &mut control };
            arm.add(self.weight(case), case.outcome());
        }
        (treated, control)
    }

    /// The least that the square of a case's effect is expected to be; 0 where the outcomes tell.
    pub fn expected_square(&self, case: &Case) -> f64 {
        self.support.map_or(0.0, |support| support.of_effect(self.propensity(case)))
    }

    /// For each case an unbiased score of its own effect (augmented inverse propensity; Robins,
    /// Rotnitzky and Zhao 1994): arms' means, corrected by what the case shows. None where an arm is missing.
    pub fn effects(&self) -> Option<Vec<f64>> {
        let (treated, control) = (self.treated.rate()?, self.control.rate()?);
        let effect = |case: &Case| {
            let p = self.propensity(case);
            let (rate, chance) = if case.treated() { (treated, p) } else { (control, p - 1.0) };
            treated - control + (case.outcome() - rate) / chance
        };
        Some(self.cases.iter().map(effect).collect())
    }
}

/// The whole cases in a number of them. What is less than a whole number by rounding only, as 0.29 of 100, is that number.
fn whole(cases: f64) -> f64 {
    let nearest = cases.round();
    if (cases - nearest).abs() <= 4.0 * f64::EPSILON * cases { nearest } else { cases.floor() }
}

/// The place of a case in `Ranking::kinds`.
fn kind(case: &Case) -> usize {
    usize::from(case.treated()) + 2 * usize::from(case.outcome() != 0.0)
}

/// The contrast where all count alike and convert or do not: whole numbers, and so one quick pass.
fn count(parts: &[(&[Case], f64)]) -> Option<Contrast> {
    let (mut n, mut events) = ([0.0; 2], [0.0; 2]);
    for (cases, chance) in parts {
        let mut kinds = [0; 4];
        cases.iter().for_each(|case| kinds[kind(case)] += 1);
        let counts = kinds.map(f64::from);
        for arm in 0..2 {
            n[arm] += chance * (counts[arm] + counts[arm + 2]);
            events[arm] += chance * counts[arm + 2];
        }
    }
    if n.contains(&0.0) {
        return None;
    }
    let rate = [events[0] / n[0], events[1] / n[1]];
    let variance: f64 = (0..2).map(|arm| rate[arm] * (1.0 - rate[arm]) / n[arm]).sum();
    let se = (variance > 0.0).then(|| variance.sqrt());
    Some(Contrast { treated_rate: rate[1], control_rate: rate[0], se })
}
