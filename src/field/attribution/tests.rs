//! The rules on made-up journeys, against their definitions computed in Python: numpy for the rules, the Shapley value over all
//! coalitions, the chain solved anew without each channel. And on the counts of real ones: see `chain.rs`.

use super::*;
use crate::statistics::draws::Draws;

const SECONDS: i64 = 1_000_000;
const MONTH: Settings = Settings { lookback: 30 * DAY, half_life: (7 * DAY) as f64 };

fn property(i: u32) -> [u8; 16] {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&i.to_be_bytes());
    id
}

/// The totals of a channel over all days, model by model; None: of no channel.
fn totals(attribution: &Attribution, channel: Option<&str>) -> [f64; MODELS] {
    let of = |name: Option<&[u8]>| name == channel.map(str::as_bytes);
    let mut totals = [0.0; MODELS];
    for (_, _, cell) in attribution.cells().filter(|&(_, name, _)| of(name)) {
        totals.iter_mut().zip(cell.credits()).for_each(|(total, credit)| *total += credit);
    }
    totals
}

fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
}

/// 400 journeys of one to six touches over five channels, the same as the references were computed on.
fn made_up() -> Attribution {
    let mut draws = Draws::new(42);
    let mut attribution = Attribution::new(MONTH);
    for journey in 0..400 {
        let mut at = 0;
        for _ in 0..1 + (draws.next() * 6.0) as usize {
            at += (draws.next() * 10.0 * 86_400.0) as i64;
            let channel = ((draws.next() * 5.0) as usize).to_string();
            attribution.push(&property(journey), at * SECONDS, Event::Touch(channel.as_bytes())).unwrap();
        }
        let converts = draws.next() < 0.4;
        at += (draws.next() * 20.0 * 86_400.0) as i64;
        if converts {
            attribution.push(&property(journey), at * SECONDS, Event::Conversion(Some(10.0))).unwrap();
        }
    }
    attribution.end().unwrap();
    attribution
}

#[test]
fn each_rule_is_its_definition() {
    let expected = [
        [27.0, 34.0, 31.0, 30.0, 31.0],
        [32.0, 23.0, 33.0, 35.0, 30.0],
        [30.36666666666665, 28.19999999999999, 30.149999999999995, 33.01666666666665, 31.266666666666662],
        [31.184674688975818, 26.359358354574763, 30.097794767469974, 34.24779293423566, 31.11037925474374],
        [29.999999999999982, 28.449999999999985, 31.349999999999987, 32.56666666666664, 30.633333333333326],
        [31.150000000000002, 26.816666666666666, 30.400000000000002, 32.65, 31.983333333333338],
    ];
    let attribution = made_up();
    assert_eq!((attribution.conversions, attribution.journeys), (153, 400));
    for channel in 0..5 {
        let found = totals(&attribution, Some(&channel.to_string()));
        for (model, credits) in expected.iter().enumerate() {
            near(found[model], credits[channel], 1e-9);
        }
    }
    let effects =
        [0.4609798060599384, 0.46024204674066016, 0.47337249331647124, 0.48964715177490004, 0.4459411860010871];
    for (channel, effect) in attribution.removal_effects() {
        let place = usize::from(channel[0] - b'0');
        near(effect, effects[place], 1e-12);
    }
}

#[test]
fn credits_add_up_to_the_conversions_and_their_worth() {
    let attribution = made_up();
    for model in 0..MODELS {
        let credits = attribution.cells().map(|(_, _, cell)| cell.credits()[model]).sum::<f64>();
        let values = attribution.cells().map(|(_, _, cell)| cell.values()[model]).sum::<f64>();
        near(credits, 153.0, 1e-9);
        near(values, 1530.0, 1e-8);
    }
}

#[test]
fn a_conversion_that_nothing_touched_in_time_is_nobodys() {
    let mut attribution = Attribution::new(MONTH);
    let mut push = |i, at, event| attribution.push(&property(i), at, event).unwrap();
    push(1, 0, Event::Touch(b"door"));
    push(1, 31 * DAY, Event::Conversion(Some(7.0)));
    push(2, 3 * DAY, Event::Conversion(None));
    push(2, 4 * DAY, Event::Conversion(Some(5.0))); // its worth was told later
    push(2, 5 * DAY, Event::Touch(b"door")); // and did not bring it about
    push(3, DAY, Event::Touch(b"door")); // in time, to the moment
    push(3, 31 * DAY, Event::Conversion(None));
    attribution.end().unwrap();
    assert_eq!(totals(&attribution, None), [2.0; MODELS]);
    assert_eq!(totals(&attribution, Some("door")), [1.0; MODELS]);
    let worth: f64 = attribution.cells().map(|(_, _, cell)| cell.values()[0]).sum();
    assert_eq!(worth, 12.0);
    let days: Vec<_> = attribution.cells().map(|(day, ..)| day).collect();
    assert_eq!(days, [3, 31, 31]);
}

#[test]
fn only_channels_have_effects() {
    // One channel and no path that ended in nothing: all is lost without it.
    let mut attribution = Attribution::new(MONTH);
    attribution.push(&property(1), 0, Event::Touch(b"door")).unwrap();
    attribution.push(&property(1), 1, Event::Conversion(None)).unwrap();
    attribution.end().unwrap();
    assert_eq!(attribution.removal_effects(), [(&b"door"[..], 1.0)]);
    // No conversion: nothing is lost.
    let mut attribution = Attribution::new(MONTH);
    attribution.push(&property(1), 0, Event::Touch(b"door")).unwrap();
    attribution.end().unwrap();
    assert_eq!(attribution.removal_effects(), [(&b"door"[..], 0.0)]);
    assert_eq!(attribution.cells().count(), 0);
}

#[test]
fn what_is_out_of_order_or_too_much_is_refused() {
    let mut attribution = Attribution::new(MONTH);
    attribution.push(&property(2), 5, Event::Touch(b"door")).unwrap();
    assert_eq!(attribution.push(&property(2), 4, Event::Touch(b"door")), Err(Fault::Order));
    assert_eq!(attribution.push(&property(1), 9, Event::Touch(b"door")), Err(Fault::Order));
    for i in 0..MOST_CHANNELS - 1 {
        attribution.push(&property(2), 5, Event::Touch(i.to_string().as_bytes())).unwrap();
    }
    assert_eq!(attribution.push(&property(2), 5, Event::Touch(b"one more")), Err(Fault::Channels));
    attribution.push(&property(2), 5, Event::Conversion(None)).unwrap();
    let mut ended = Ok(());
    for day in 1..1000 {
        ended = ended.and(attribution.push(&property(day + 2), i64::from(day) * DAY, Event::Conversion(None)));
    }
    assert_eq!(ended, Err(Fault::Cells));
}

/// The channels of each real path that converted, as bits, and how many did; see `chain.rs` for where they come from.
#[test]
fn the_shapley_value_of_real_paths() {
    let mut attribution = Attribution::new(MONTH);
    let mut journey = 0;
    for line in include_str!("sets.csv").lines() {
        let (set, conversions) = line.split_once(',').unwrap();
        let set: u32 = set.parse().unwrap();
        for _ in 0..conversions.parse::<u32>().unwrap() {
            journey += 1;
            for channel in (0..12).filter(|bit| set >> bit & 1 == 1) {
                attribution.push(&property(journey), 0, Event::Touch(&[b'a' + channel])).unwrap();
            }
            attribution.push(&property(journey), 0, Event::Conversion(None)).unwrap();
        }
    }
    attribution.end().unwrap();
    assert_eq!(attribution.conversions, 19_785);
    for (channel, credit) in [("a", 7627.944047619047), ("b", 1982.7392857142868), ("j", 2.6666666666666665)] {
        near(totals(&attribution, Some(channel))[5], credit, 1e-8);
    }
}
