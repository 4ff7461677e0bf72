//! Conversions credited to the touches before them, by six rules and by a Markov chain, in one pass over events in order.
//!
//! A path is what touched one property within the lookback before its first conversion; without one, before its last touch.
//! Each rule gives a conversion's credit away whole, so that the credits of all channels add up to the conversions; one that
//! nothing touched in time is credited to no channel.

mod chain;
mod credit;
#[cfg(test)]
mod tests;

use crate::memory::fallibly;
use crate::statistics::sum::Sum;
use chain::Chain;
use credit::{MODELS, Touch, Weights};
use std::collections::{BTreeMap, HashMap, TryReserveError};

pub use credit::NAMES;

/// The chain is solved in time of the cube.
const MOST_CHANNELS: usize = 300;
/// Of days and channels, so that the answer stays small.
const MOST_CELLS: usize = 200_000;
const DAY: i64 = 86_400_000_000;

/// In microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub lookback: i64,
    pub half_life: f64,
}

/// What was done to a property, or came of it. Times are microseconds since 2000.
#[derive(Clone, Copy)]
pub enum Event<'a> {
    Touch(&'a [u8]),
    Conversion(Option<f64>),
}

#[derive(Debug, PartialEq)]
pub enum Fault {
    /// Events did not come in order of property and time.
    Order,
    Channels,
    Cells,
    Memory,
}

impl From<TryReserveError> for Fault {
    fn from(_: TryReserveError) -> Self {
        Self::Memory
    }
}

/// What one channel is credited with of one day's conversions.
#[derive(Clone, Copy, Default)]
pub struct Cell {
    pub touches: u64,
    pub journeys: u64,
    credits: [Sum; MODELS],
    values: [Sum; MODELS],
}

impl Cell {
    pub fn credits(&self) -> [f64; MODELS] {
        self.credits.map(Sum::value)
    }

    pub fn values(&self) -> [f64; MODELS] {
        self.values.map(Sum::value)
    }
}

/// The property whose events come just now.
#[derive(Default)]
struct Journey {
    touches: Vec<Touch>,
    /// When it converted first, and the worth that was told first.
    converted: Option<(i64, Option<f64>)>,
    last: i64,
}

pub struct Attribution {
    settings: Settings,
    property: Option<[u8; 16]>,
    journey: Journey,
    names: Vec<Vec<u8>>,
    places: HashMap<Vec<u8>, usize>,
    chain: Chain,
    weights: Weights,
    /// By day since 2000 of the conversion; the last of each day's cells is of no channel.
    days: BTreeMap<i64, Vec<Cell>>,
    pub conversions: u64,
    pub journeys: u64,
}

/// The place of no channel in a day's cells.
const NOBODY: usize = 0;

impl Attribution {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            property: None,
            journey: Journey::default(),
            names: Vec::new(),
            places: HashMap::new(),
            chain: Chain::default(),
            weights: Weights::default(),
            days: BTreeMap::new(),
            conversions: 0,
            journeys: 0,
        }
    }

    /// Takes in the next event.
    pub fn push(&mut self, property: &[u8; 16], at: i64, event: Event) -> Result<(), Fault> {
        if self.property.as_ref() != Some(property) {
            if self.property.as_ref().is_some_and(|before| before > property) {
                return Err(Fault::Order);
            }
            self.end_journey()?;
            self.property = Some(*property);
            self.journey.last = i64::MIN;
        }
        if at < self.journey.last {
            return Err(Fault::Order);
        }
        self.journey.last = at;
        match event {
            Event::Conversion(value) => {
                let first = self.journey.converted.get_or_insert((at, None));
                first.1 = first.1.or(value);
            }
            // What came after the conversion did not bring it about.
            Event::Touch(channel) if self.journey.converted.is_none() => {
                let channel = self.channel(channel)?;
                let touches = &mut self.journey.touches;
                if touches.len() == touches.capacity() {
                    fallibly(|| touches.try_reserve(touches.len().max(16)))?;
                }
                touches.push(Touch { channel, at });
            }
            Event::Touch(_) => {}
        }
        Ok(())
    }

    fn channel(&mut self, name: &[u8]) -> Result<usize, Fault> {
        if let Some(&place) = self.places.get(name) {
            return Ok(place);
        }
        let place = self.names.len();
        if place == MOST_CHANNELS {
            return Err(Fault::Channels);
        }
        self.names.push(name.to_vec());
        self.places.insert(name.to_vec(), place);
        Ok(place)
    }

    fn end_journey(&mut self) -> Result<(), Fault> {
        let journey = std::mem::take(&mut self.journey);
        let Some(_) = self.property else { return Ok(()) };
        let last_touch = journey.touches.last().map(|touch| touch.at);
        let Some(end) = journey.converted.map(|(at, _)| at).or(last_touch) else { return Ok(()) };
        let since = end.saturating_sub(self.settings.lookback);
        let first = journey.touches.partition_point(|touch| touch.at < since);
        let path = &journey.touches[first..];
        self.journeys += 1;
        self.chain.push(path, journey.converted.is_some());
        if let Some((at, value)) = journey.converted {
            self.conversions += 1;
            self.credit(path, at, value.unwrap_or(0.0))?;
        }
        // The memory is for the next.
        self.journey.touches = journey.touches;
        self.journey.touches.clear();
        Ok(())
    }

    fn credit(&mut self, path: &[Touch], at: i64, value: f64) -> Result<(), Fault> {
        let (days, channels) = (self.days.len(), self.names.len());
        if (days + 1) * (channels + 1) > MOST_CELLS {
            return Err(Fault::Cells);
        }
        let cells = self.days.entry(at.div_euclid(DAY)).or_default();
        if cells.len() <= channels {
            fallibly(|| cells.try_reserve(channels + 1 - cells.len()))?;
            cells.resize(channels + 1, Cell::default());
        }
        let mut give = |place: usize, model: usize, share: f64| {
            cells[place].credits[model].add(share);
            cells[place].values[model].add(share * value);
        };
        if path.is_empty() {
            (0..MODELS).for_each(|model| give(NOBODY, model, 1.0));
            cells[NOBODY].journeys += 1;
            return Ok(());
        }
        self.weights.share(path, self.settings.half_life, |place, model, share| give(place + 1, model, share));
        for &channel in self.weights.distinct() {
            cells[channel + 1].journeys += 1;
        }
        for touch in path {
            cells[touch.channel + 1].touches += 1;
        }
        Ok(())
    }

    /// Ends the last journey. After it the answers are whole.
    pub fn end(&mut self) -> Result<(), Fault> {
        self.end_journey()?;
        self.property = None;
        Ok(())
    }

    /// Day since 2000, channel (None: converted without a touch in time) and its cell, where there is any credit or touch.
    pub fn cells(&self) -> impl Iterator<Item = (i64, Option<&[u8]>, &Cell)> {
        self.days.iter().flat_map(|(&day, cells)| {
            let name = |place: usize| place.checked_sub(1).map(|channel| self.names[channel].as_slice());
            let there = |cell: &Cell| cell.journeys > 0;
            cells
                .iter()
                .enumerate()
                .filter(move |(_, cell)| there(cell))
                .map(move |(place, cell)| (day, name(place), cell))
        })
    }

    /// Each channel that was touched, with its removal effect.
    pub fn removal_effects(&self) -> Vec<(&[u8], f64)> {
        let effects = self.chain.removal_effects(self.names.len());
        self.names.iter().map(Vec::as_slice).zip(effects).collect()
    }
}
