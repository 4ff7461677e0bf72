//! Numbers as a reader expects them.

/// A share as percent: 12.3 %.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = usize::from(percent.fract().abs() > 0.049 && percent.abs() < 100.0);
    format!("{} %", zero(&format!("{percent:.digits$}")))
}

/// A lift in percentage points with its sign: +3.2 points.
pub fn points(lift: f64) -> String {
    format!("{:+.1} points", lift * 100.0)
}

/// A whole number with separators: 12,345.
pub fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if number < -0.5 { format!("-{text}") } else { text }
}

/// Up to three decimals, none that say nothing.
pub fn short(number: f64) -> String {
    let text = format!("{number:.3}");
    zero(text.trim_end_matches('0').trim_end_matches('.'))
}

/// No minus before a zero.
fn zero(text: &str) -> String {
    if text.trim_matches(['-', '0', '.']).is_empty() { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([percent(0.1), percent(0.123), percent(-0.0001), percent(1.0)], ["10 %", "12.3 %", "0 %", "100 %"]);
        assert_eq!([count(0.0), count(999.0), count(1000.0), count(-1_234_567.0)], ["0", "999", "1,000", "-1,234,567"]);
        assert_eq!([short(0.2), short(-0.0), short(1.0), short(0.1234)], ["0.2", "0", "1", "0.123"]);
        assert_eq!([points(0.0321), points(-0.5)], ["+3.2 points", "-50.0 points"]);
    }
}
