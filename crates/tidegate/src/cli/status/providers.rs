//! What providers said of their limits, for people.

use tidegate_control::wire::{Cooldown, PlanWindow, Platform, ProviderWord};
use tidegate_types::NanoUsd;

use super::{
    super::table::{Table, Tone, grouped, line, plain, toned},
    spoken,
};

/// Below so many thousandths nothing is said of a slower refill: it is noise.
const SLOW_PERMILLE: u32 = 950;

/// A percentage with one decimal.
fn percent(ppm: u64) -> String {
    format!("{}.{} %", ppm / 10_000, ppm / 1_000 % 10)
}

/// What of the buckets is not as configured.
pub(super) fn words(out: &mut String, platforms: &[Platform]) {
    for platform in platforms {
        for bucket in &platform.buckets {
            if let Some(word) = bucket.provider.as_ref().filter(|it| it.answers > 0) {
                let name = plain(&format!("{}.{}", platform.platform, bucket.name));
                line(
                    out,
                    &format!("{name} follows the provider: {}", follows(word)),
                );
            }
        }
    }
}

fn follows(word: &ProviderWord) -> String {
    let mut said = vec![format!(
        "off by {} when it last said",
        percent(word.error_ppm)
    )];
    if let Some(configured) = word.configured_capacity {
        let configured = i64::try_from(configured).unwrap_or(i64::MAX);
        said.push(format!(
            "its own limit, not the {} configured",
            grouped(configured)
        ));
    }
    if word.foreign_permille > 0 {
        let percent = percent(u64::from(word.foreign_permille) * 1_000);
        said.push(format!("others use {percent} of the refill"));
    }
    if word.pace_permille < SLOW_PERMILLE {
        let percent = percent(u64::from(word.pace_permille) * 1_000);
        said.push(format!("refills at {percent} of what is stated"));
    }
    if word.ignored > 0 {
        said.push(format!("{} figures made no sense", grouped(word.ignored)));
    }
    said.join(", ")
}

pub(super) fn cooldowns(out: &mut String, cooldowns: &[Cooldown]) {
    for cooldown in cooldowns {
        let whose = cooldown
            .account
            .as_deref()
            .map_or_else(String::new, |it| format!(" of {it}"));
        let models = cooldown
            .models
            .as_deref()
            .map_or_else(String::new, |it| format!(" for {it}"));
        let left = match cooldown.left_seconds {
            0 => "the next call tries whether it is over".to_owned(),
            seconds => format!("for {}", spoken(seconds)),
        };
        let text = format!(
            "{}{whose} is not asked{models}: {}, {left}",
            cooldown.provider, cooldown.message
        );
        line(out, &toned(&plain(&text), Tone::Warning));
    }
}

/// The windows of plans; nothing where nobody has one.
pub(super) fn windows(windows: &[PlanWindow]) -> String {
    let mut table = Table::new(&[
        "plan of",
        "window",
        ">used",
        "begins anew in",
        ">holds",
        ">±",
    ]);
    for window in windows {
        let used = percent(window.used_ppm);
        let usd = |it: Option<u64>| it.map_or_else(String::new, |it| cents(NanoUsd(it)));
        table.row([
            plain(&format!("{} {}", window.provider, window.account)),
            plain(&window.window),
            if window.refuses {
                toned(&used, Tone::Bad)
            } else {
                used
            },
            window.resets_in_seconds.map_or_else(String::new, spoken),
            usd(window.size_nano_usd),
            usd(window.size_error_nano_usd),
        ]);
    }
    if table.is_empty() {
        String::new()
    } else {
        format!("\n{}", table.show())
    }
}

/// In whole cents, rounded up: what is learned is not surer than that.
fn cents(amount: NanoUsd) -> String {
    let cents = amount.0.div_ceil(10_000_000);
    format!("${}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests;
