//! Percentile curves as SVG, and as a page with the tables.

use std::fmt::Write;

use anyhow::anyhow;
use plotters::prelude::*;

use super::merged::Group;
use super::reading::Files;
use super::text::{self, QUANTILES};
use crate::cli::numbers::{grouped, printable, size};

/// Curves in a chart: more cannot be told apart.
const CURVES: usize = 8;
/// Width and height of a chart, in pixels.
const CHART: (u32, u32) = (960, 420);
/// Colours that are told apart by most (Okabe and Ito).
const COLOURS: [RGBColor; CURVES] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(150, 130, 20),
];

/// All charts, one below the other, as one image.
pub fn svg(groups: &[Group]) -> anyhow::Result<String> {
    let mut image = String::new();
    {
        let root = SVGBackend::with_string(&mut image, (CHART.0, CHART.1 * groups.len().max(1) as u32)).into_drawing_area();
        let drawn = || -> Result<(), Box<dyn std::error::Error>> {
            root.fill(&WHITE)?;
            for (area, group) in root.split_evenly((groups.len().max(1), 1)).iter().zip(groups) {
                chart(area, group)?;
            }
            root.present()?;
            Ok(())
        };
        drawn().map_err(|e| anyhow!("{e}"))?;
    }
    Ok(image)
}

/// One chart: the value at each percentile, both on logarithmic scales (that of percentiles counts nines).
fn chart<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    group: &Group,
) -> Result<(), Box<dyn std::error::Error>>
where
    DB::ErrorType: 'static,
{
    let curves: Vec<(String, Vec<(f64, f64)>)> =
        group.rows.iter().take(CURVES).map(|(name, sum)| (printable(name), curve(&sum.histogram()))).collect();
    let points = || curves.iter().flat_map(|(_, points)| points);
    let nines = points().map(|p| p.0).fold(1.0, f64::max);
    let highest = points().map(|p| p.1).fold(10.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(group.title(), ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..nines, (1.0..highest * 1.5).log_scale())?;
    chart
        .configure_mesh()
        .x_labels(nines.ceil() as usize + 1)
        .x_label_formatter(&|nines| percentile(*nines))
        .y_label_formatter(&|value| group.value(*value as u64))
        .x_desc("percentile of blocks")
        .light_line_style(TRANSPARENT)
        .draw()?;
    for ((name, points), colour) in curves.into_iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    Ok(())
}

/// Points of a curve: nines, and the value there. Zero stands as one, which a logarithmic scale has.
fn curve(histogram: &hdrhistogram::Histogram<u64>) -> Vec<(f64, f64)> {
    let total = histogram.len() as f64;
    let mut below = 0.0;
    let mut points = Vec::new();
    for step in histogram.iter_recorded() {
        let value = (step.value_iterated_to() as f64).max(1.0);
        points.push((-(1.0 - below / total).log10(), value));
        below += step.count_at_value() as f64;
        // The largest value stands where one block in all is left.
        points.push((-(1.0 - below / total).max(0.5 / total).log10(), value));
    }
    points
}

/// 1 nine is 90 %.
fn percentile(nines: f64) -> String {
    let share = 100.0 * (1.0 - 10f64.powf(-nines));
    let digits = (nines - 2.0).ceil().max(0.0) as usize;
    format!("{share:.digits$} %")
}

/// A page of its own: tables and charts.
pub fn html(files: &Files, groups: &[Group], top: usize) -> anyhow::Result<String> {
    let mut out = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>gcshim: how long things live</title>\n<style>\n\
         body { font: 15px system-ui, sans-serif; margin: 2em auto; max-width: 62em; padding: 0 1em }\n\
         table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }\n\
         th, td { padding: .15em .6em; text-align: right } th:first-child, td:first-child { text-align: left; word-break: break-all }\n\
         tr:nth-child(even) { background: #f4f4f4 } svg { max-width: 100%; height: auto }\n</style>\n\
         <h1>How long things live</h1>\n",
    );
    // Writing to a String cannot fail.
    let _ = writeln!(out, "<p>{}</p>", escaped(&text::summary(files)));
    for note in &files.notes {
        let _ = writeln!(out, "<p>{}</p>", escaped(note));
    }
    for group in groups {
        let _ = writeln!(out, "<h2>{}</h2>\n{}", group.title(), svg(std::slice::from_ref(group))?);
        out.push_str("<table><tr><th></th><th>blocks</th><th>bytes</th>");
        for (_, title) in QUANTILES {
            let _ = write!(out, "<th>{title}</th>");
        }
        out.push_str("<th>max</th></tr>\n");
        for (name, sum) in group.rows.iter().take(top) {
            let histogram = sum.histogram();
            let name = escaped(&printable(name));
            let _ = write!(out, "<tr><td>{name}</td><td>{}</td><td>{}</td>", grouped(histogram.len()), size(sum.bytes as u64));
            for (quantile, _) in QUANTILES {
                let _ = write!(out, "<td>{}</td>", group.value(histogram.value_at_quantile(quantile)));
            }
            let _ = writeln!(out, "<td>{}</td></tr>", group.value(histogram.max()));
        }
        out.push_str("</table>\n");
    }
    out.push_str("</html>\n");
    Ok(out)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
