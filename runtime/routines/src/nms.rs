//! `nms`: ONNX's `NonMaxSuppression`.

use crate::inputs::{Inputs, wrong};
use crate::keys::float_key;
use crate::{Attrs, RoutineError};
use nnc_tensor::{Tensor, Value};

/// Corners with the smaller coordinates first, and the area.
#[derive(Clone, Copy)]
struct Rect {
    lo: [f32; 2],
    hi: [f32; 2],
}

impl Rect {
    /// From two opposite corners in any order.
    fn from_corners(b: &[f32]) -> Rect {
        Rect { lo: [b[0].min(b[2]), b[1].min(b[3])], hi: [b[0].max(b[2]), b[1].max(b[3])] }
    }

    /// From center, width and height.
    fn from_center(b: &[f32]) -> Rect {
        let (w, h) = (b[2] / 2.0, b[3] / 2.0);
        Rect { lo: [b[0] - w, b[1] - h], hi: [b[0] + w, b[1] + h] }
    }

    fn area(&self) -> f32 {
        (self.hi[0] - self.lo[0]) * (self.hi[1] - self.lo[1])
    }

    /// Intersection over union above the threshold; boxes without area overlap nothing.
    fn overlaps(&self, other: &Rect, threshold: f32) -> bool {
        let side = |i: usize| self.hi[i].min(other.hi[i]) - self.lo[i].max(other.lo[i]);
        let (a, b) = (side(0), side(1));
        if a <= 0.0 || b <= 0.0 {
            return false;
        }
        let common = a * b;
        let union = self.area() + other.area() - common;
        let real = common > 0.0 && self.area() > 0.0 && other.area() > 0.0 && union > 0.0;
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
    let mut chosen: Vec<usize> = Vec::new();
    for i in candidates {
        if chosen.len() >= most {
            break;
        }
        if !chosen.iter().any(|j| rects[i].overlaps(&rects[*j], threshold)) {
            chosen.push(i);
        }
    }
    chosen
}
