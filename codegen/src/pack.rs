//! Weights in the layouts that microkernels read: done once, at compile time.
//!
//! One layout of a matrix serves every instruction set: *panels* of 16 columns, zero padded, in
//! which the rows follow each other. Element (k, j) lies at `p·K·16 + k·16 + j mod 16`, p = ⌊j / 16⌋.

use nnc_tensor::{DType, Tensor};

/// Columns of a panel.
pub const PANEL: usize = 16;

/// Why weights cannot be packed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PackError {
    /// Only f32 has a packed layout.
    #[error("weights must be f32, found {0}")]
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

    /// The length of K.
    pub fn rows(&self) -> usize {
        self.k.iter().map(|(extent, _)| extent).product()
    }

    /// Elements of the packed matrix, padding included.
    pub fn packed_len(&self) -> usize {
        self.n.0.div_ceil(PANEL) * PANEL * self.rows()
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

/// A matrix as panels of 16 columns, f32 bytes.
pub fn pack_b(weights: &Tensor, matrix: &Matrix) -> Result<Vec<u8>, PackError> {
    let elems = floats(weights)?;
    let (rows, (columns, stride)) = (matrix.rows(), matrix.n);
    let starts: Vec<usize> = (0..rows).map(|k| matrix.row(k)).collect();
    let mut packed = Vec::with_capacity(4 * matrix.packed_len());
    for panel in (0..columns).step_by(PANEL) {
        let width = PANEL.min(columns - panel);
        for start in &starts {
            for j in panel..panel + width {
                packed.extend(element(elems, start + j * stride)?);
            }
            packed.resize(packed.len() + 4 * (PANEL - width), 0);
        }
    }
    Ok(packed)
}

/// Depthwise weights `[O, 1, kh, kw]` as `[kh·kw][O]`, f32 bytes.
pub fn pack_depthwise(weights: &Tensor) -> Result<Vec<u8>, PackError> {
    let elems = floats(weights)?;
    let &[channels, 1, kh, kw] = weights.shape() else {
        return Err(PackError::Shape(weights.shape().to_vec()));
    };
    let taps = kh * kw;
    let mut packed = Vec::with_capacity(elems.len());
    for tap in 0..taps {
        for channel in 0..channels {
            packed.extend(element(elems, channel * taps + tap)?);
        }
    }
    Ok(packed)
}

fn floats(weights: &Tensor) -> Result<&[u8], PackError> {
    if weights.dtype() == DType::F32 { Ok(weights.bytes()) } else { Err(PackError::DType(weights.dtype())) }
}

fn element(bytes: &[u8], index: usize) -> Result<[u8; 4], PackError> {
    let found = bytes.as_chunks::<4>().0.get(index);
    found.copied().ok_or(PackError::Outside { index, len: bytes.len() / 4 })
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
