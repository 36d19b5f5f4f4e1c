//! ServeGen: how often each client asks in each ten minutes, and how its calls are spaced.

use std::{sync::Arc, time::Duration};

use super::{
    Format, Loaded, Reading, TraceError, Traffic,
    azure::SORTED,
    fields::{Record, Table},
    source::Source,
};
use crate::{limits::TRACE_WINDOWS_MAX, rng::Seeded};

/// How long a window is.
const WINDOW: Duration = Duration::from_mins(10);

/// Calls that the whole of such a trace comes to, thinned by one factor for all clients.
const CALLS_WANTED: f64 = 200_000.0;

/// Gaps of which each is drawn, where many follow each other; of more the sum is drawn at once.
const GAPS_DRAWN_MAX: u32 = 32;

/// Shapes beyond these are fits to a handful of calls, and mean no more than these.
const SHAPES: (f64, f64) = (0.1, 1_000.0);

/// How the gaps between a client's calls are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// As the gamma distribution has it.
    Gamma,
    /// As Weibull's has it.
    Weibull,
}

/// Ten minutes of one client.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The model.
    pub model: Arc<str>,
    /// The client, by its number.
    pub client: u32,
    /// When it begins, since the trace began.
    pub at: Duration,
    /// Calls a second.
    pub rate: f64,
    /// How the gaps between them are spread.
    pub family: Family,
    /// The shape of that; its scale follows from the rate.
    pub shape: f64,
}

/// How often clients ask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// Their windows.
    pub windows: Vec<Window>,
    /// Input and output of calls, in tokens, to draw from. The trace has none: they come from another.
    pub sizes: Vec<(u64, u64)>,
    /// The part of all calls that is kept.
    kept: f64,
}

impl Rates {
    /// Calls of the first `within` of the trace: when, of which window. The same for the same draws; sorted by time.
    pub(crate) fn draw(&self, within: Duration, draws: &mut Seeded) -> Vec<(Duration, &Window)> {
        let mut all = Vec::new();
        for window in self.windows.iter().filter(|it| it.at < within) {
            let mut at = 0.0;
            loop {
                at += window.gap(self.kept, draws);
                if at >= WINDOW.as_secs_f64() {
                    break;
                }
                let at = window.at + Duration::from_secs_f64(at);
                if at < within {
                    all.push((at, window));
                }
            }
        }
        // Stable, so that calls of the same moment stay in the order of the file.
        all.sort_by_key(|it| it.0);
        all
    }
}

impl Window {
    /// The time to the next call that is kept, in seconds: after as many gaps as chance skips.
    fn gap(&self, kept: f64, draws: &mut Seeded) -> f64 {
        // How many gaps that is: geometric.
        let skips = if kept >= 1.0 {
            0.0
        } else {
            ((1.0 - draws.unit()).ln() / (1.0 - kept).ln()).floor()
        };
        let gaps = skips + 1.0;
        let mean = 1.0 / self.rate;
        let spread = match self.family {
            Family::Gamma => {
                let shape = self.shape * gaps;
                return gamma(shape, draws) * mean / self.shape;
            }
            Family::Weibull => weibull_moments(self.shape),
        };
        let (of_one, variance) = spread;
        if gaps <= f64::from(GAPS_DRAWN_MAX) {
            let mut sum = 0.0;
            let mut drawn = 0.0;
            while drawn < gaps {
                sum += (-(1.0 - draws.unit()).ln()).powf(1.0 / self.shape);
                drawn += 1.0;
            }
            return sum * mean / of_one;
        }
        // A sum of many is nearly a gamma of the same mean and variance.
        let shape = gaps * of_one * of_one / variance;
        gamma(shape, draws) * gaps * mean / shape
    }
}

/// Mean and variance of Weibull's distribution of this shape, at scale 1.
fn weibull_moments(shape: f64) -> (f64, f64) {
    let mean = gamma_function(1.0 + 1.0 / shape);
    let square = gamma_function(1.0 + 2.0 / shape);
    (mean, (square - mean * mean).max(1e-12))
}

/// Γ of a number from 1 up, by Lanczos' approximation: to some fifteen digits.
fn gamma_function(of: f64) -> f64 {
    const G: f64 = 7.0;
    const PARTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = of - 1.0;
    let mut sum = 0.999_999_999_999_809_9;
    let mut place = x;
    for part in PARTS {
        place += 1.0;
        sum += part / place;
    }
    let t = x + G + 0.5;
    std::f64::consts::TAU.sqrt() * t.powf(x + 0.5) * (-t).exp() * sum
}

/// A draw of the gamma distribution of scale 1 (Marsaglia and Tsang, 2000).
fn gamma(shape: f64, draws: &mut Seeded) -> f64 {
    if shape < 1.0 {
        let larger = gamma(shape + 1.0, draws);
        return larger * (1.0 - draws.unit()).powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let normal = draws.normal();
        let v = (1.0 + c * normal).powi(3);
        if v <= 0.0 {
            continue;
        }
        let u = 1.0 - draws.unit();
        if u.ln() < 0.5 * normal * normal + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

pub(super) fn load(source: Source, reading: &Reading) -> Result<Loaded, TraceError> {
    let path = source.path;
    let columns = ["model", "client", "t_s", "rate_rps", "dist", "p1"];
    let mut table = Table::open(&path, source.reader, &columns, &[])?;
    let mut windows: Vec<Window> = Vec::new();
    let mut passed_over = 0;
    while let Some(row) = table.next()? {
        let last = windows.last();
        let window = window(&row, last)?;
        if reading
            .model
            .as_deref()
            .is_some_and(|it| it != &*window.model)
        {
            passed_over += 1;
            continue;
        }
        let same = |it: &&Window| it.model == window.model && it.client == window.client;
        if last.filter(same).is_some_and(|it| it.at >= window.at) {
            return Err(row.place.wrong("t_s", row.text("t_s"), SORTED));
        }
        if windows.len() == TRACE_WINDOWS_MAX {
            let reason = format!(
                "here are more than {TRACE_WINDOWS_MAX} windows, which is the most that are held at once: choose a model"
            );
            return Err(row.place.error(reason));
        }
        windows.push(window);
    }
    let calls: f64 = windows.iter().map(|it| it.rate).sum::<f64>() * WINDOW.as_secs_f64();
    let kept = (CALLS_WANTED / calls.max(1.0)).min(1.0);
    Ok(Loaded {
        format: Format::ServeGen,
        traffic: Traffic::Rates(Rates {
            windows,
            sizes: Vec::new(),
            kept,
        }),
        passed_over,
    })
}

fn window(row: &Record<'_>, last: Option<&Window>) -> Result<Window, TraceError> {
    let name = row.text("model");
    let model = last
        .filter(|it| &*it.model == name)
        .map_or_else(|| name.into(), |it| Arc::clone(&it.model));
    let family = match row.text("dist") {
        "Gamma" => Family::Gamma,
        "Weibull" => Family::Weibull,
        other => {
            let remedy = "write `Gamma` or `Weibull`";
            return Err(row.place.wrong("dist", other, remedy));
        }
    };
    Ok(Window {
        model,
        client: row.count("client")?,
        at: row.seconds("t_s")?,
        rate: row.positive("rate_rps")?,
        family,
        shape: row.positive("p1")?.clamp(SHAPES.0, SHAPES.1),
    })
}
