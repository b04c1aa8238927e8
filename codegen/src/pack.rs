//! Weights in the layouts that microkernels read: done once, at compile time.
//!
//! One layout of a matrix serves every instruction set: *panels* of 16 columns, in which the rows
//! follow each other in groups of g, zero padded: 1 for f32, 2 for 16-bit floats, 4 for bytes. With
//! K rows (padded to g), element (k, j) lies at `p·K·16 + (⌊k/g⌋·16 + j mod 16)·g + k mod g` for
//! p = ⌊j / 16⌋. Where K runs over the taps of a window, each tap is padded to g.

use nnc_tensor::{DType, Tensor};

/// Columns of a panel.
pub const PANEL: usize = 16;

/// Why weights cannot be packed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PackError {
    /// The type has no packed layout.
    #[error("weights must be f32, a 16-bit float or of 8 bits, found {0}")]
    DType(DType),
    /// The strides lead past the end.
    #[error("element {index} of {len} is asked for")]
    Outside {
        /// The element.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// The tensor's shape is not `[O, 1, kh, kw]`.
    #[error("depthwise weights must have shape [O, 1, kh, kw], found {0:?}")]
    Shape(Vec<usize>),
}

/// A matrix of K rows and N columns inside a tensor: the right operand of a product.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matrix {
    /// First element.
    pub offset: usize,
    /// The axes that make up K, outermost first, as (extent, stride in elements): one for a plain
    /// matrix; height, width and channels for the weights of a convolution.
    pub k: Vec<(usize, usize)>,
    /// Columns and their stride in elements.
    pub n: (usize, usize),
}

impl Matrix {
    /// The row-major matrix `[k, n]`.
    pub fn row_major(k: usize, n: usize) -> Matrix {
        Matrix { offset: 0, k: vec![(k, n)], n: (n, 1) }
    }

    /// The transpose of the row-major matrix `[n, k]`.
    pub fn transposed(k: usize, n: usize) -> Matrix {
        Matrix { offset: 0, k: vec![(k, 1)], n: (n, k) }
    }

    /// Convolution weights `[n, c, kh, kw]` of which K runs over taps and then channels, as in
    /// channels-last images.
    pub fn conv(n: usize, c: usize, kh: usize, kw: usize) -> Matrix {
        Matrix { offset: 0, k: vec![(kh, kw), (kw, 1), (c, kh * kw)], n: (n, c * kh * kw) }
    }

    /// Taps, and rows of each.
    fn taps(&self) -> (usize, usize) {
        let inner = self.k.last().map_or(1, |(extent, _)| *extent);
        (self.k.iter().rev().skip(1).map(|(extent, _)| extent).product(), inner)
    }

    /// Elements of a panel, padding included.
    pub fn panel_len(&self, dtype: DType) -> usize {
        let (taps, inner) = self.taps();
        taps * inner.next_multiple_of(group(dtype).unwrap_or(1)) * PANEL
    }

    /// The element of row `k` in column 0.
    fn row(&self, k: usize) -> usize {
        let (mut rest, mut at) = (k, self.offset);
        for (extent, stride) in self.k.iter().rev() {
            at += rest % extent * stride;
            rest /= extent;
        }
        at
    }
}

/// Rows that lie side by side in a panel.
fn group(dtype: DType) -> Option<usize> {
    match dtype {
        DType::F32 => Some(1),
        DType::F16 | DType::BF16 => Some(2),
        DType::I8 | DType::U8 => Some(4),
        _ => None,
    }
}

/// A matrix as panels of 16 columns, bytes of the weights' type.
pub fn pack_b(weights: &Tensor, matrix: &Matrix) -> Result<Vec<u8>, PackError> {
    let dtype = weights.dtype();
    let group = group(dtype).ok_or(PackError::DType(dtype))?;
    let ((taps, inner), (columns, stride)) = (matrix.taps(), matrix.n);
    let size = dtype.size();
    let mut packed = vec![0; columns.div_ceil(PANEL) * matrix.panel_len(dtype) * size];
    for k in 0..taps * inner {
        let (start, padded) = (matrix.row(k), inner.next_multiple_of(group));
        let row = k / inner * padded + k % inner;
        for j in 0..columns {
            let place = (row / group * PANEL + j % PANEL) * group + row % group;
            let to = (j / PANEL * matrix.panel_len(dtype) + place) * size;
            packed[to..to + size].copy_from_slice(element(weights, start + j * stride)?);
        }
    }
    Ok(packed)
}

/// Depthwise weights `[O, 1, kh, kw]` as `[kh·kw][O]`, bytes of the weights' type.
pub fn pack_depthwise(weights: &Tensor) -> Result<Vec<u8>, PackError> {
    group(weights.dtype()).ok_or(PackError::DType(weights.dtype()))?;
    let &[channels, 1, kh, kw] = weights.shape() else {
        return Err(PackError::Shape(weights.shape().to_vec()));
    };
    let taps = kh * kw;
    let mut packed = Vec::with_capacity(weights.bytes().len());
    for tap in 0..taps {
        for channel in 0..channels {
            packed.extend(element(weights, channel * taps + tap)?);
        }
    }
    Ok(packed)
}

fn element(weights: &Tensor, index: usize) -> Result<&[u8], PackError> {
    let (bytes, size) = (weights.bytes(), weights.dtype().size());
    let found = bytes.chunks_exact(size).nth(index);
    found.ok_or(PackError::Outside { index, len: bytes.len() / size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(shape: &[usize]) -> Tensor {
        let data: Vec<f32> = (0..shape.iter().product()).map(|i: usize| i as f32 + 1.0).collect();
        Tensor::from_slice(shape, &data).expect("a shape of that many elements")
    }

    fn unpacked(bytes: &[u8]) -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    #[test]
    fn panels_hold_sixteen_columns() {
        for (k, n) in [(1, 1), (3, 16), (5, 17), (2, 40)] {
            let plain = unpacked(&pack_b(&numbers(&[k, n]), &Matrix::row_major(k, n)).expect("packs"));
            let turned = unpacked(&pack_b(&numbers(&[n, k]), &Matrix::transposed(k, n)).expect("packs"));
            assert_eq!(plain.len(), n.div_ceil(16) * 16 * k);
            for row in 0..k {
                for j in 0..n.div_ceil(16) * 16 {
                    let at = j / 16 * k * 16 + row * 16 + j % 16;
                    let inside = j < n;
                    assert_eq!(plain[at], if inside { (row * n + j) as f32 + 1.0 } else { 0.0 });
                    assert_eq!(turned[at], if inside { (j * k + row) as f32 + 1.0 } else { 0.0 });
                }
            }
        }
    }

    #[test]
    fn convolution_rows_run_over_taps_then_channels() {
        let (o, c, kh, kw) = (3, 2, 2, 3);
        let packed =
            unpacked(&pack_b(&numbers(&[o, c, kh, kw]), &Matrix::conv(o, c, kh, kw)).expect("packs"));
        for (i, (y, x, channel)) in
            (0..kh).flat_map(|y| (0..kw).flat_map(move |x| (0..c).map(move |i| (y, x, i)))).enumerate()
        {
            for out in 0..o {
                let index = ((out * c + channel) * kh + y) * kw + x;
                assert_eq!(packed[i * 16 + out], index as f32 + 1.0);
            }
        }
    }

    #[test]
    fn bytes_lie_in_groups_of_four_rows_of_a_tap() {
        let (taps, inner, n) = (2, 6, 18);
        let data: Vec<i8> = (0..taps * inner * n).map(|i| i as i8).collect();
        let weights = Tensor::from_slice(&[taps * inner, n], &data).expect("a shape of that many elements");
        let matrix = Matrix { offset: 0, k: vec![(taps, inner * n), (inner, n)], n: (n, 1) };
        let packed = pack_b(&weights, &matrix).expect("packs");
        assert_eq!(packed.len(), 2 * taps * 8 * 16);
        let mut sum = 0i64;
        for (t, k, j) in (0..taps).flat_map(|t| (0..inner).flat_map(move |k| (0..n).map(move |j| (t, k, j))))
        {
            let at = j / 16 * (taps * 8 * 16) + ((t * 2 + k / 4) * 16 + j % 16) * 4 + k % 4;
            assert_eq!(packed[at] as i8, data[(t * inner + k) * n + j]);
            sum += i64::from(packed[at] as i8);
        }
        assert_eq!(packed.iter().map(|b| i64::from(*b as i8)).sum::<i64>(), sum, "padding is zero");
    }

    #[test]
    fn depthwise_weights_have_channels_last() {
        let packed = unpacked(&pack_depthwise(&numbers(&[5, 1, 2, 2])).expect("packs"));
        assert_eq!(packed[..5], [1.0, 5.0, 9.0, 13.0, 17.0]);
        assert_eq!(packed[15..], [4.0, 8.0, 12.0, 16.0, 20.0]);
    }

    #[test]
    fn wrong_weights_are_refused() {
        let short = pack_b(&numbers(&[2, 2]), &Matrix::row_major(3, 2));
        assert_eq!(short, Err(PackError::Outside { index: 4, len: 4 }));
        assert_eq!(pack_depthwise(&numbers(&[2, 2])), Err(PackError::Shape(vec![2, 2])));
        let ints = Tensor::from_slice(&[1], &[1i32]).expect("one number");
        assert_eq!(pack_b(&ints, &Matrix::row_major(1, 1)), Err(PackError::DType(DType::I32)));
    }
}
