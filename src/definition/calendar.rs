//! Calendar expressions, as `systemd.time(7)` has them ("CALENDAR EVENTS").
//!
//! Checked here so that a mistake is found without systemd. The grammar is a
//! little stricter: ranges are written `..`, and a moment (`@1234567890`) is
//! none, for it never comes again.

use super::values::Refusal;

/// Words that stand for an expression.
const WORDS: &[&str] = &[
    "minutely",
    "hourly",
    "daily",
    "monthly",
    "weekly",
    "yearly",
    "quarterly",
    "annually",
    "semiannually",
    "anually",
    "bi-annually",
    "biannually",
    "semi-annually",
];
/// Days of the week in full; three letters are enough.
const DAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Checks a calendar expression.
pub(super) fn check(text: &str) -> Result<(), Refusal> {
    let example = "write for example \"daily\", \"*-*-* 03:00\" or \"Mon..Fri 06:30\"";
    if text.trim() != text || text.is_empty() {
        return Err(format!("{text:?} is no calendar expression; {example}"));
    }
    let mut parts: Vec<&str> = text.split(' ').collect();
    if parts.len() > 1 && parts.last().is_some_and(|last| is_zone(last)) {
        parts.pop();
    }
    if let [word] = parts.as_slice()
        && WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
    {
        return Ok(());
    }
    let mut left = parts.as_slice();
    if let [first, rest @ ..] = left
        && first.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        days(first)?;
        left = rest;
    }
    if let [first, rest @ ..] = left
        && first.contains(['-', '~'])
    {
        date(first)?;
        left = rest;
    }
    if let [first, rest @ ..] = left
        && first.contains(':')
    {
        time(first)?;
        left = rest;
    }
    match left {
        [] => Ok(()),
        [odd, ..] => Err(format!(
            "{odd:?} is neither days, a date, a time nor a time zone at its place in {text:?}; {example}"
        )),
    }
}

/// Tells whether a word is the name of a time zone: `UTC` or `Area/City`.
fn is_zone(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-/".contains(c);
    let named = word.split_once('/').is_some_and(|(area, city)| {
        area.starts_with(|c: char| c.is_ascii_uppercase()) && !city.is_empty()
    });
    word.chars().all(plain) && (word == "UTC" || named)
}

fn days(text: &str) -> Result<(), Refusal> {
    let number = |name: &str| {
        let name = name.to_ascii_lowercase();
        DAYS.iter().position(|day| *day == name || day.get(..3) == Some(name.as_str()))
    };
    for item in text.split(',') {
        let (from, to) = item.split_once("..").unwrap_or((item, item));
        for day in [from, to] {
            number(day).ok_or_else(|| {
                format!("{day:?} is no day of the week; write Mon, Tue, and so on, or Mon..Fri")
            })?;
        }
    }
    Ok(())
}

fn date(text: &str) -> Result<(), Refusal> {
    // `~` counts days from the end of the month.
    let parts: Vec<&str> = text.split(['-', '~']).collect();
    let (year, month, day) = match parts.as_slice() {
        [year, month, day] => (Some(*year), *month, *day),
        [month, day] => (None, *month, *day),
        _ => return Err(format!("{text:?} is no date; write year-month-day, such as *-*-01")),
    };
    if text.find('~').is_some_and(|at| text.get(at + 1..).is_some_and(|r| r.contains(['-', '~']))) {
        return Err(format!("{text:?} is no date; ~ stands before the day only"));
    }
    if let Some(year) = year {
        field(year, "a year", (1970, 2199))?;
    }
    field(month, "a month", (1, 12))?;
    field(day, "a day", (1, 31))
}

fn time(text: &str) -> Result<(), Refusal> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] => (*hour, *minute, None),
        [hour, minute, second] => (*hour, *minute, Some(*second)),
        _ => return Err(format!("{text:?} is no time; write hour:minute, such as 03:00")),
    };
    field(hour, "an hour", (0, 23))?;
    field(minute, "a minute", (0, 59))?;
    second.map_or(Ok(()), |second| field(second, "a second", (0, 59)))
}

/// Checks `*`, or a list of numbers and ranges, each perhaps with a step.
fn field(text: &str, what: &str, (least, most): (u32, u32)) -> Result<(), Refusal> {
    if text == "*" {
        return Ok(());
    }
    let number = |text: &str| {
        let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let in_range = |text: &str| number(text).filter(|n| (least..=most).contains(n));
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        if range == "*" && step.is_some() {
            return Err(format!(
                "{item:?} is not how systemd writes steps; write \"{least}/{}\"",
                step.unwrap_or_default()
            ));
        }
        let (from, to) = range.split_once("..").unwrap_or((range, range));
        let good = matches!((in_range(from), in_range(to)), (Some(from), Some(to)) if from <= to);
        if !good {
            return Err(format!(
                "{item:?} is not {what}; write a number from {least} to {most}, a list, a range with `..`, or *"
            ));
        }
        if step.is_some_and(|step| !number(step).is_some_and(|n| (1..=most).contains(&n))) {
            return Err(format!(
                "{item:?} has no step; write a number from 1 to {most} after the /"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expressions_of_the_manual_are_taken() {
        for good in [
            "daily",
            "Weekly",
            "hourly UTC",
            "Sat,Thu,Mon..Wed,Sat..Sun",
            "Mon,Sun 12-*-* 2,1:23",
            "Wed *-1",
            "Wed..Wed,Wed *-1",
            "Wed, 17:48",
            "Wed..Sat,Tue 12-10-15 1:2:3",
            "*-*-7 0:0:0",
            "10-15",
            "monday *-12-* 17:00",
            "Mon,Fri *-*-3,1,2 *:30:45",
            "12,14,13,12:20,10,30",
            "12..14:10,20,30",
            "03-05 08:05:40",
            "08:05:40",
            "05:40",
            "Sat,Sun 12-05 08:05:40",
            "2003-03-05 05:40",
            "2003-02..04-05",
            "2003-03-05 05:40 UTC",
            "*:2/3",
            "*-05~07/1",
            "*-*~01",
            "*-*-* 04:00 Europe/Berlin",
            "Mon..Fri 06:30",
        ] {
            // Two-digit years and a comma before a blank are oddities of
            // systemd that nobody needs.
            if good.starts_with("Mon,Sun 12-") || good == "Wed, 17:48" || good.contains(" 12-10-15")
            {
                assert!(check(good).is_err(), "{good}");
            } else {
                assert_eq!(check(good), Ok(()), "{good}");
            }
        }
    }

    #[test]
    fn mistakes_are_told_with_their_mending() {
        for (bad, says) in [
            ("", "calendar expression"),
            (" daily", "calendar expression"),
            ("dayly", "day of the week"),
            ("* * * * *", "neither days"),
            ("0 3 * * *", "neither days"),
            ("*-*-* 25:00", "an hour"),
            ("*-13-01", "a month"),
            ("*-*-* */5:00", "0/5"),
            ("Mon-Fri 03:00", "day of the week"),
            ("Fri..Mon..Tue", "day of the week"),
            ("*-*-* 03", "neither days"),
            ("03:00 Mon", "neither days"),
            ("*-*-5..2", "a day"),
            ("*-*-1/0", "no step"),
            ("@12345", "neither days"),
            ("*-*-* 03:00\nExecStart=/x", "neither"),
            ("*-*-* 03:00\n", "calendar expression"),
        ] {
            let told = check(bad).unwrap_err();
            assert!(told.contains(says), "{bad:?}: {told}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_taken_can_end_a_line(text in "[ -~\\n%$]{0,24}") {
            if check(&text).is_ok() {
                prop_assert!(!text.contains(['\n', '%', '$', '"', '\\', '\'']));
            }
        }
    }
}
