//! `nms`: ONNX's `NonMaxSuppression`.
//!
//! Exporters that suppress many classes at once move the boxes of each class to a place of their own, which
//! leaves thousands of boxes that are chosen. A candidate is therefore compared only with those that lie in the
//! same strips across one axis: boxes that overlap share one.

use crate::inputs::{Inputs, wrong};
use crate::keys::float_key;
use crate::{Attrs, RoutineError};
use nnc_tensor::{Tensor, Value};
use std::ops::RangeInclusive;

/// Corners with the smaller coordinates first, and the area.
#[derive(Clone, Copy)]
struct Rect {
    lo: [f32; 2],
    hi: [f32; 2],
    area: f32,
}

impl Rect {
    /// From two opposite corners in any order.
    fn from_corners(b: &[f32]) -> Rect {
        Rect::new([b[0].min(b[2]), b[1].min(b[3])], [b[0].max(b[2]), b[1].max(b[3])])
    }

    /// From center, width and height.
    fn from_center(b: &[f32]) -> Rect {
        let (w, h) = (b[2] / 2.0, b[3] / 2.0);
        Rect::new([b[0] - w, b[1] - h], [b[0] + w, b[1] + h])
    }

    fn new(lo: [f32; 2], hi: [f32; 2]) -> Rect {
        Rect { lo, hi, area: (hi[0] - lo[0]) * (hi[1] - lo[1]) }
    }

    /// Intersection over union above the threshold; boxes without area overlap nothing.
    fn overlaps(&self, other: &Rect, threshold: f32) -> bool {
        let side = |i: usize| self.hi[i].min(other.hi[i]) - self.lo[i].max(other.lo[i]);
        let (a, b) = (side(0), side(1));
        if a <= 0.0 || b <= 0.0 {
            return false;
        }
        let common = a * b;
        let union = self.area + other.area - common;
        let real = common > 0.0 && self.area > 0.0 && other.area > 0.0 && union > 0.0;
        real && common / union > threshold
    }
}

/// Inputs `boxes` `[batch, n, 4]`, `scores` `[batch, classes, n]`, and optionally the most boxes a
/// class (default 0), the IoU threshold (0) and the score threshold (none); attribute
/// `center_point_box` = 0. Output `[chosen, 3]`: batch, class, box, by falling score in each class.
pub(crate) fn nms(attrs: &Attrs, inputs: &[Value]) -> Result<Vec<Value>, RoutineError> {
    let inputs = Inputs(inputs);
    let (boxes, scores) = (inputs.tensor(0, "boxes")?, inputs.tensor(1, "scores")?);
    let (&[batches, n, 4], &[score_batches, classes, score_n]) = (boxes.shape(), scores.shape()) else {
        return Err(wrong("boxes", "of shape [batch, n, 4] with scores [batch, classes, n]", boxes));
    };
    if (score_batches, score_n) != (batches, n) {
        return Err(wrong("scores", "of as many batches and boxes as \"boxes\"", scores));
    }
    let most = inputs.int(2, "max_output_boxes_per_class")?.unwrap_or(0);
    let most = usize::try_from(most.max(0)).unwrap_or(usize::MAX);
    let threshold = inputs.float(3, "iou_threshold")?.unwrap_or(0.0) as f32;
    let least = inputs.float(4, "score_threshold")?.map(|s| s as f32);
    let centered = attrs.flag_or("center_point_box", false)?;
    let (boxes, scores) = (boxes.elems::<f32>()?, scores.elems::<f32>()?);
    let corner = if centered { Rect::from_center } else { Rect::from_corners };
    let rects: Vec<Rect> = boxes.chunks_exact(4).map(corner).collect();
    let mut out: Vec<i64> = Vec::new();
    // Without boxes the sizes of batch and class say nothing about memory.
    for (row, scores) in scores.chunks_exact(n.max(1)).enumerate() {
        let (batch, class) = (row / classes, row % classes);
        let rects = &rects[batch * n..(batch + 1) * n];
        for chosen in choose(rects, scores, most, threshold, least) {
            out.extend([batch as i64, class as i64, chosen as i64]);
        }
    }
    Ok(vec![Tensor::from_slice(&[out.len() / 3, 3], &out)?.into()])
}

fn choose(rects: &[Rect], scores: &[f32], most: usize, threshold: f32, least: Option<f32>) -> Vec<usize> {
    let enough = |i: &usize| least.is_none_or(|s| scores[*i] > s);
    let mut candidates: Vec<usize> = (0..scores.len()).filter(enough).collect();
    candidates.sort_by_key(|i| std::cmp::Reverse(float_key(scores[*i].into())));
    let strips = Strips::over(rects, &candidates);
    let mut in_strips: Vec<Vec<Rect>> = vec![Vec::new(); strips.n];
    let mut chosen: Vec<usize> = Vec::new();
    for i in candidates {
        if chosen.len() >= most {
            break;
        }
        let mine = strips.of(&rects[i]);
        let mut others = in_strips[mine.clone()].iter().flatten();
        if !others.any(|other| rects[i].overlaps(other, threshold)) {
            in_strips[mine].iter_mut().for_each(|strip| strip.push(rects[i]));
            chosen.push(i);
        }
    }
    chosen
}

/// Strips of equal width across an axis. What lies beyond the outermost ones belongs to them.
struct Strips {
    n: usize,
    axis: usize,
    first: f32,
    width: f32,
}

impl Strips {
    /// About as wide as a usual box, along the axis that has more of them; one strip where nothing is gained or
    /// coordinates are not finite.
    fn over(rects: &[Rect], which: &[usize]) -> Strips {
        let along = |axis: usize| {
            let sides = || which.iter().map(|i| (rects[*i].lo[axis], rects[*i].hi[axis]));
            let usual = sides().map(|(lo, hi)| hi - lo).sum::<f32>() / which.len() as f32;
            let first = sides().map(|(lo, _)| lo).fold(f32::MAX, f32::min);
            let extent = sides().map(|(_, hi)| hi).fold(f32::MIN, f32::max) - first;
            let n = ((extent / usual) as usize).clamp(1, which.len().max(1));
            Strips { n, axis, first, width: extent / n as f32 }
        };
        let [a, b] = [along(0), along(1)];
        let more = if a.n >= b.n { a } else { b };
        let usable = more.first.is_finite() && more.width.is_finite() && more.width > 0.0;
        if usable { more } else { Strips { n: 1, axis: 0, first: 0.0, width: 1.0 } }
    }

    /// The strips in which a box lies. Sides that overlap have one in common, as the strip never falls while a
    /// coordinate grows.
    fn of(&self, r: &Rect) -> RangeInclusive<usize> {
        let strip = |x: f32| (((x - self.first) / self.width) as usize).min(self.n - 1);
        let lo = strip(r.lo[self.axis]);
        lo..=strip(r.hi[self.axis]).max(lo)
    }
}
