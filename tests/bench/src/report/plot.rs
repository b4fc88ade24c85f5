//! The figures that the claims rest on, as bars.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::document::documents;
use crate::figures::{Metric, Results};
use crate::machine::Machine;
use crate::rows::{Group, Row};

const WIDTH: u32 = 860;
/// Of a bar with the room around it.
const BAR: i32 = 24;
/// Above the bars of a panel, for its title.
const TITLE: i32 = 40;
/// Where bars begin: left of it are their names.
const LEFT: i32 = 290;
/// How long the longest bar is; right of it is its value.
const LONGEST: i32 = 440;

const PANELS: [(Group, Metric, &str); 4] = [
    (
        Group::Udp64,
        Metric::Cpu,
        "CPU nanoseconds a UDP packet of 64 bytes: less is better",
    ),
    (
        Group::Udp1400,
        Metric::Cpu,
        "CPU nanoseconds a UDP packet of 1400 bytes: less is better",
    ),
    (Group::Tcp, Metric::Goodput, "TCP, Gbit/s: more is better"),
    (
        Group::RoundTrip,
        Metric::P99,
        "UDP there and back, p99 in µs: less is better",
    ),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws `docs/performance.svg`.
///
/// # Errors
/// It cannot be written.
pub(crate) fn plot(results: &Results, machine: &Machine) -> anyhow::Result<()> {
    let file = documents().join("performance.svg");
    let panels: Vec<Panel> = PANELS
        .iter()
        .filter_map(|panel| Panel::of(results, panel))
        .collect();
    let height: i32 = panels.iter().map(Panel::height).sum();
    let area = SVGBackend::new(&file, (WIDTH, (height + TITLE) as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut top = 0;
    for panel in &panels {
        panel.draw(&area, top)?;
        top += panel.height();
    }
    let small = style(11, HPos::Left);
    area.draw_text(&machine.to_string(), &small, (10, top + TITLE / 2))?;
    Ok(area.present()?)
}

struct Panel {
    title: &'static str,
    metric: Metric,
    /// Names and values.
    bars: Vec<(&'static str, bool, f64)>,
}

impl Panel {
    /// `None` if nothing of it was measured.
    fn of(
        results: &Results,
        &(group, metric, title): &(Group, Metric, &'static str),
    ) -> Option<Self> {
        let rows = results.rows().iter().filter(|row| row.group == group);
        let bar = |row: &Row| {
            let value = results.spread(&row.name(), metric)?.median;
            Some((row.title, row.subject.is_ours(), value))
        };
        let bars: Vec<_> = rows.filter_map(bar).collect();
        (!bars.is_empty()).then_some(Self {
            title,
            metric,
            bars,
        })
    }

    fn height(&self) -> i32 {
        TITLE + BAR * self.bars.len() as i32
    }

    fn draw(&self, area: &Area<'_>, top: i32) -> anyhow::Result<()> {
        area.draw_text(self.title, &style(15, HPos::Left), (10, top + TITLE / 2))?;
        let longest = self
            .bars
            .iter()
            .map(|bar| bar.2)
            .fold(f64::MIN_POSITIVE, f64::max);
        for (number, &(name, ours, value)) in (0..).zip(&self.bars) {
            let y = top + TITLE + BAR * number;
            let middle = y + BAR / 2;
            let right = LEFT + (value / longest * f64::from(LONGEST)) as i32;
            let colour = if ours {
                RGBColor(38, 112, 179)
            } else {
                RGBColor(150, 150, 150)
            };
            let bar = Rectangle::new([(LEFT, y + 3), (right, y + BAR - 3)], colour.filled());
            area.draw(&bar)?;
            area.draw_text(name, &style(13, HPos::Right), (LEFT - 8, middle))?;
            area.draw_text(
                &self.metric.show(value),
                &style(13, HPos::Left),
                (right + 6, middle),
            )?;
        }
        Ok(())
    }
}

fn style<'a>(size: i32, side: HPos) -> TextStyle<'a> {
    let position = Pos::new(side, VPos::Center);
    TextStyle::from(("sans-serif", size).into_font()).pos(position)
}
