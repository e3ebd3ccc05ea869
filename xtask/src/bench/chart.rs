//! Charts of what a request costs.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::contender::Contender;
use super::rounds::Measured;
use super::stats::Estimate;
use super::workload::Workload;

const WIDTH: i32 = 720;
const LABELS: i32 = 190;
const BAR: i32 = 22;
const STEP: i32 = 34;
const TOP: i32 = 60;
const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb2);
const OTHERS: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const INK: RGBColor = RGBColor(0x24, 0x2a, 0x31);

/// Writes one bar for each contender: its cost above no check, with the interval of the median.
pub(super) fn write(path: &Path, measured: &Measured, workload: Workload) -> Result<()> {
    let bars: Vec<(Contender, Estimate)> = measured
        .contenders(workload)
        .into_iter()
        // A call to a service is of another order of magnitude: with it, the others would be too short to see.
        .filter(|contender| contender.is_envoy() && *contender != Contender::ExtAuthz)
        .filter_map(|contender| Some((contender, measured.cost(workload, contender)?)))
        .collect();
    draw(path, workload.title(), &bars).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn draw(
    path: &Path,
    title: &str,
    bars: &[(Contender, Estimate)],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let height = TOP + STEP * i32::try_from(bars.len())? + 8;
    let area = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let style = |size: i32| TextStyle::from(("sans-serif", size).into_font()).color(&INK);
    let centred = |horizontal| Pos::new(horizontal, VPos::Center);
    area.draw(&Text::new(title.to_owned(), (12, 10), style(22)))?;
    area.draw(&Text::new("µs on the processor per request, above no check", (12, 33), style(16)))?;
    let widest = bars.iter().map(|(_, cost)| cost.high).fold(1.0, f64::max);
    let room = f64::from(WIDTH - LABELS - 70);
    let x = |value: f64| LABELS + (value.max(0.0) / widest * room) as i32;
    for ((contender, cost), row) in bars.iter().zip(0..) {
        let (top, middle) = (TOP + row * STEP, TOP + row * STEP + BAR / 2);
        let colour = if *contender == Contender::Gate { OURS } else { OTHERS };
        let label = style(17).pos(centred(HPos::Right));
        area.draw(&Text::new(contender.title(), (LABELS - 8, middle), label))?;
        area.draw(&Rectangle::new([(LABELS, top), (x(cost.median), top + BAR)], colour.filled()))?;
        area.draw(&PathElement::new([(x(cost.low), middle), (x(cost.high), middle)], INK))?;
        let value = style(17).pos(centred(HPos::Left));
        area.draw(&Text::new(format!("{:.1}", cost.median), (x(cost.high) + 6, middle), value))?;
    }
    area.present()?;
    Ok(())
}
