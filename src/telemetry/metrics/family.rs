//! A metric with its samples at one moment, and their encoding.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::histogram::Distribution;

/// A metric and its samples.
#[derive(Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

/// The labels of a sample, in the order in which they are written.
pub type Labels = Vec<(&'static str, String)>;

/// The value of a counter or a gauge.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// Written without a point.
    Whole(u64),
    /// Written with one.
    Fraction(f64),
}

#[derive(Debug)]
enum Value {
    Number(Number),
    Distribution(Box<Distribution>),
}

impl From<u64> for Number {
    fn from(whole: u64) -> Self {
        Self::Whole(whole)
    }
}

impl From<usize> for Number {
    fn from(whole: usize) -> Self {
        Self::Whole(u64::try_from(whole).unwrap_or(u64::MAX))
    }
}

impl From<f64> for Number {
    fn from(fraction: f64) -> Self {
        Self::Fraction(fraction)
    }
}

impl Family {
    /// A counter without labels. Its name ends in `_total`, as do those of all counters.
    pub fn counter(name: &'static str, help: &'static str, value: impl Into<Number>) -> Self {
        Self::counters(name, help, [(Vec::new(), value)])
    }

    /// A counter's samples.
    pub fn counters<N: Into<Number>>(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, N)>,
    ) -> Self {
        Self::numbers(name, help, MetricType::Counter, samples)
    }

    /// A gauge without labels.
    pub fn gauge(name: &'static str, help: &'static str, value: impl Into<Number>) -> Self {
        Self::gauges(name, help, [(Vec::new(), value)])
    }

    /// A gauge's samples.
    pub fn gauges<N: Into<Number>>(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, N)>,
    ) -> Self {
        Self::numbers(name, help, MetricType::Gauge, samples)
    }

    /// A histogram's samples.
    pub fn histograms(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels, Distribution)>,
    ) -> Self {
        let boxed = |(labels, it)| (labels, Value::Distribution(Box::new(it)));
        Self { name, help, kind: MetricType::Histogram, samples: samples.into_iter().map(boxed).collect() }
    }

    fn numbers<N: Into<Number>>(
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Labels, N)>,
    ) -> Self {
        let samples = samples.into_iter().map(|(labels, value)| (labels, Value::Number(value.into())));
        Self { name, help, kind, samples: samples.collect() }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        // The encoder adds it.
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let mut encoder = encoder.encode_descriptor(name, self.help, None, self.kind)?;
        for (labels, value) in &self.samples {
            self.encode_value(&mut encoder.encode_family(labels)?, value)?;
        }
        Ok(())
    }

    fn encode_value(&self, encoder: &mut MetricEncoder<'_>, value: &Value) -> std::fmt::Result {
        let none: Option<&Exemplar<NoLabelSet, f64>> = None;
        match (value, self.kind) {
            (Value::Number(Number::Whole(value)), MetricType::Counter) => encoder.encode_counter(value, none),
            (Value::Number(Number::Fraction(value)), MetricType::Counter) => {
                encoder.encode_counter(value, none)
            }
            (Value::Number(Number::Whole(value)), _) => encoder.encode_gauge(value),
            (Value::Number(Number::Fraction(value)), _) => encoder.encode_gauge(value),
            (Value::Distribution(it), _) => {
                encoder.encode_histogram::<NoLabelSet>(it.sum_seconds(), it.count(), &it.buckets(), None)
            }
        }
    }
}

/// The families of one scrape, for the encoder.
#[derive(Debug)]
struct Scrape(Vec<Family>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        // Prometheus refuses a metric without a sample in some versions, and nobody needs it.
        self.0
            .iter()
            .filter(|family| !family.samples.is_empty())
            .try_for_each(|family| family.encode(&mut encoder))
    }
}

/// Writes families in version 0.0.4 of the text format.
pub(super) fn encode(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(families)));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}
