//! The argument structs: what each contract's words are, slot by slot.
//!
//! Every field is one 64-bit word, in the order of the fields, so that generated code writes slot
//! `i` at byte `8 * i`. Counts and strides are in elements. A float travels in the low half of its
//! word ([`f32_word`]). Unless a struct says otherwise, a pointer needs only the alignment of its
//! element and output may not overlap an input except by being the very same tile.

/// The word that carries a float.
pub const fn f32_word(value: f32) -> u64 {
    value.to_bits() as u64
}

/// The float that a word carries.
pub const fn word_f32(word: u64) -> f32 {
    f32::from_bits(word as u32)
}

/// Flag: the output is added to, not overwritten.
pub const ACCUM: i64 = 1 << 0;
/// Flag: a bias per column is added.
pub const BIAS: i64 = 1 << 1;
/// Flag: a residual of the output's shape is added.
pub const RESIDUAL: i64 = 1 << 2;
/// Flag: the result is clamped to `[lo, hi]`; NaN stays NaN.
pub const CLAMP: i64 = 1 << 3;
/// Flag: the sum is multiplied by a scale per column.
pub const SCALE: i64 = 1 << 4;

/// `f32_gemm`: matrix product with packed B and a fused epilogue. See the family for the formula.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GemmArgs {
    /// Slot 0: C, row-major.
    pub c: *mut f32,
    /// Slot 1: row stride of C.
    pub ldc: i64,
    /// Slot 2: rows, any count.
    pub m: i64,
    /// Slot 3: columns, any count.
    pub n: i64,
    /// Slot 4: null, or the pointers to the rows of A: row `r` of tap `t` is
    /// `rows[t * rows_stride + r]`, `kc` contiguous elements.
    pub rows: *const *const f32,
    /// Slot 5: pointers from one tap to the next.
    pub rows_stride: i64,
    /// Slot 6: A where `rows` is null; then `taps` is 1.
    pub a: *const f32,
    /// Slot 7: row stride of A.
    pub lda: i64,
    /// Slot 8: taps.
    pub taps: i64,
    /// Slot 9: inner elements of one tap.
    pub kc: i64,
    /// Slot 10: B in panels of 16 columns: element (k, j) at `(j / 16) * b_panel_stride + k * 16 +
    /// j % 16`; the last panel is padded to 16 columns.
    pub b: *const f32,
    /// Slot 11: elements from one panel to the next.
    pub b_panel_stride: i64,
    /// Slot 12: [`ACCUM`], [`BIAS`], [`RESIDUAL`], [`CLAMP`], [`SCALE`].
    pub flags: i64,
    /// Slot 13: bias, `n` elements.
    pub bias: *const f32,
    /// Slot 14: scale, `n` elements.
    pub scale: *const f32,
    /// Slot 15: residual, row-major; may be C itself.
    pub residual: *const f32,
    /// Slot 16: row stride of the residual.
    pub ld_residual: i64,
    /// Slot 17: lower bound, a float word.
    pub lo: u64,
    /// Slot 18: upper bound, a float word.
    pub hi: u64,
    /// Slot 19: null, or the buffer of zeros that pointers in the padding lead to, B being finite:
    /// taps at which all rows of a tile lead there are left out.
    pub zeros: *const f32,
}

/// Flag of `i8_gemm`: A holds i8, not u8.
pub const A_SIGNED: i64 = 1 << 5;
/// Flag of `i8_gemm`: a float bias per column is added after scaling.
pub const FLOAT_BIAS: i64 = 1 << 6;

/// Store of `i8_gemm`: the integer sums, i32.
pub const STORE_I32: i64 = 0;
/// Store of `i8_gemm`: the scaled sums, f32.
pub const STORE_F32: i64 = 1;
/// Store of `i8_gemm`: the scaled sums rounded and shifted by the zero point, saturated to u8.
pub const STORE_U8: i64 = 2;
/// Store of `i8_gemm`: the same, saturated to i8.
pub const STORE_I8: i64 = 3;

/// `i8_gemm`: product of 8-bit matrices with zero points, packed B and requantization.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct I8GemmArgs {
    /// Slot 0: C, row-major, of the store's type.
    pub c: *mut u8,
    /// Slot 1: row stride of C, in elements.
    pub ldc: i64,
    /// Slot 2: rows, any count.
    pub m: i64,
    /// Slot 3: columns, any count.
    pub n: i64,
    /// Slot 4: null, or the pointers to the rows of A, as in [`GemmArgs`].
    pub rows: *const *const u8,
    /// Slot 5: pointers from one tap to the next.
    pub rows_stride: i64,
    /// Slot 6: A where `rows` is null; then `taps` is 1.
    pub a: *const u8,
    /// Slot 7: row stride of A.
    pub lda: i64,
    /// Slot 8: taps.
    pub taps: i64,
    /// Slot 9: inner elements of one tap.
    pub kc: i64,
    /// Slot 10: B, i8, in panels of 16 columns and groups of 4 k: element (k, j) of tap t at
    /// `(j / 16) * b_panel_stride + ((t * ceil(kc / 4) + k / 4) * 16 + j % 16) * 4 + k % 4`; columns
    /// and the last group of a tap are padded with zeros.
    pub b: *const i8,
    /// Slot 11: bytes from one panel to the next.
    pub b_panel_stride: i64,
    /// Slot 12: [`ACCUM`] (i32 store only), [`BIAS`], [`CLAMP`] (not with the i32 store; before rounding),
    /// [`A_SIGNED`], [`FLOAT_BIAS`].
    pub flags: i64,
    /// Slot 13: what is stored, [`STORE_I32`] and so on.
    pub store: i64,
    /// Slot 14: zero point of A.
    pub a_zero: i64,
    /// Slot 15: zero points of B's columns, `n` elements, or null.
    pub b_zero: *const i32,
    /// Slot 16: sums of B's columns, `n` elements; may be null if `a_zero` is 0 and A unsigned.
    pub column_sums: *const i32,
    /// Slot 17: integer bias, `n` elements.
    pub bias: *const i32,
    /// Slot 18: scale, `n` elements, or null for ones; unused by the i32 store.
    pub scale: *const f32,
    /// Slot 19: factor of all scales, a float word.
    pub factor: u64,
    /// Slot 20: float bias, `n` elements.
    pub float_bias: *const f32,
    /// Slot 21: zero point of the u8 and i8 stores.
    pub out_zero: i64,
    /// Slot 22: lower bound, a float word.
    pub lo: u64,
    /// Slot 23: upper bound, a float word.
    pub hi: u64,
}

/// `f32_pack_b`: packs a K×N matrix into panels of 16 columns, the last padded with zeros.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PackBArgs {
    /// Slot 0: the panels.
    pub dst: *mut f32,
    /// Slot 1: element (0, 0).
    pub src: *const f32,
    /// Slot 2: K.
    pub k: i64,
    /// Slot 3: N.
    pub n: i64,
    /// Slot 4: elements from k to k + 1.
    pub k_stride: i64,
    /// Slot 5: elements from column to column.
    pub n_stride: i64,
    /// Slot 6: elements from panel to panel of `dst`.
    pub dst_panel_stride: i64,
}

/// `f32_unpack4`: panels of 16 columns of four-bit numbers as panels of floats.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Unpack4Args {
    /// Slot 0: the panels of floats.
    pub dst: *mut f32,
    /// Slot 1: the packed panels.
    pub src: *const u8,
    /// Slot 2: rows of a panel.
    pub k: i64,
    /// Slot 3: panels.
    pub panels: i64,
    /// Slot 4: rows that share a scale.
    pub block: i64,
    /// Slot 5: 16 scales for each block of rows.
    pub scales: *const f32,
    /// Slot 6: zero points in the form of the scales, or null.
    pub zeros: *const f32,
    /// Slot 7: the zero point if `zeros` is null, a float word.
    pub zero: u64,
    /// Slot 8: bytes from packed panel to packed panel.
    pub src_panel_stride: i64,
    /// Slot 9: elements from the scales of a panel to those of the next.
    pub scale_panel_stride: i64,
    /// Slot 10: elements from panel to panel of `dst`.
    pub dst_panel_stride: i64,
}

/// `f32_dwconv`: one output row of a channels-last depthwise convolution.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DwconvArgs {
    /// Slot 0: the output row.
    pub out: *mut f32,
    /// Slot 1: elements from output pixel to output pixel.
    pub out_pixel_stride: i64,
    /// Slot 2: the image's pixel (0, 0).
    pub x: *const f32,
    /// Slot 3: elements from image row to image row.
    pub x_row_stride: i64,
    /// Slot 4: elements from pixel to pixel.
    pub x_pixel_stride: i64,
    /// Slot 5: image height.
    pub h: i64,
    /// Slot 6: image width.
    pub w: i64,
    /// Slot 7: channels.
    pub c_n: i64,
    /// Slot 8: output pixels.
    pub ow_n: i64,
    /// Slot 9: image row of tap row 0; may lie outside.
    pub ih0: i64,
    /// Slot 10: kernel height.
    pub kh: i64,
    /// Slot 11: kernel width.
    pub kw: i64,
    /// Slot 12: horizontal stride.
    pub stride_w: i64,
    /// Slot 13: padding on the left.
    pub pad_w: i64,
    /// Slot 14: vertical dilation.
    pub dil_h: i64,
    /// Slot 15: horizontal dilation.
    pub dil_w: i64,
    /// Slot 16: weights, `kh * kw` taps of `c_n` channels.
    pub weights: *const f32,
    /// Slot 17: elements from tap to tap.
    pub w_tap_stride: i64,
    /// Slot 18: bias per channel, or null.
    pub bias: *const f32,
    /// Slot 19: [`CLAMP`].
    pub flags: i64,
    /// Slot 20: lower bound, a float word.
    pub lo: u64,
    /// Slot 21: upper bound, a float word.
    pub hi: u64,
}

/// `f32_pool`: one output row of a channels-last pooling window.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PoolArgs {
    /// Slot 0: the output row.
    pub out: *mut f32,
    /// Slot 1: elements from output pixel to output pixel.
    pub out_pixel_stride: i64,
    /// Slot 2: the image's pixel (0, 0).
    pub x: *const f32,
    /// Slot 3: elements from image row to image row.
    pub x_row_stride: i64,
    /// Slot 4: elements from pixel to pixel.
    pub x_pixel_stride: i64,
    /// Slot 5: image height.
    pub h: i64,
    /// Slot 6: image width.
    pub w: i64,
    /// Slot 7: channels.
    pub c_n: i64,
    /// Slot 8: output pixels.
    pub ow_n: i64,
    /// Slot 9: image row of window row 0; may lie outside.
    pub ih0: i64,
    /// Slot 10: window height.
    pub kh: i64,
    /// Slot 11: window width.
    pub kw: i64,
    /// Slot 12: horizontal stride.
    pub stride_w: i64,
    /// Slot 13: padding on the left.
    pub pad_w: i64,
    /// Slot 14: vertical dilation.
    pub dil_h: i64,
    /// Slot 15: horizontal dilation.
    pub dil_w: i64,
    /// Slot 16: [`POOL_MAX`], [`POOL_MEAN`], [`POOL_MEAN_PADDED`].
    pub kind: i64,
    /// Slot 17: padding on the right, for [`POOL_MEAN_PADDED`].
    pub pad_right: i64,
    /// Slot 18: padding at the bottom, for [`POOL_MEAN_PADDED`].
    pub pad_bottom: i64,
}

/// The greatest element; NaN if any is; -inf if the window lies outside.
pub const POOL_MAX: i64 = 0;
/// The mean of the elements inside the image; 0 if there are none.
pub const POOL_MEAN: i64 = 1;
/// The sum of the elements inside the image over the count of those inside image or padding.
pub const POOL_MEAN_PADDED: i64 = 2;

/// `f32_softmax`: rows of softmax or log-softmax with scale, additive mask and causal limit.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxArgs {
    /// Slot 0: output rows; may be `src`.
    pub dst: *mut f32,
    /// Slot 1: input rows.
    pub src: *const f32,
    /// Slot 2: rows.
    pub rows: i64,
    /// Slot 3: columns.
    pub n: i64,
    /// Slot 4: elements from output row to output row.
    pub dst_row_stride: i64,
    /// Slot 5: elements from input row to input row.
    pub src_row_stride: i64,
    /// Slot 6: 0 softmax, 1 log-softmax, 2 softmax that makes zeros of a row of −∞.
    pub mode: i64,
    /// Slot 7: factor of the input, a float word.
    pub scale: u64,
    /// Slot 8: mask added after the factor, or null.
    pub mask: *const f32,
    /// Slot 9: elements from mask row to mask row (0: one row for all).
    pub mask_row_stride: i64,
    /// Slot 10: columns that row 0 sees; the others are left out and written as 0.
    pub valid_n0: i64,
    /// Slot 11: further columns that each next row sees.
    pub valid_step: i64,
}

/// `f32_norm`: rows of layer or RMS normalization.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NormArgs {
    /// Slot 0: output rows; may be `src`.
    pub dst: *mut f32,
    /// Slot 1: input rows.
    pub src: *const f32,
    /// Slot 2: rows.
    pub rows: i64,
    /// Slot 3: columns.
    pub n: i64,
    /// Slot 4: elements from output row to output row.
    pub dst_row_stride: i64,
    /// Slot 5: elements from input row to input row.
    pub src_row_stride: i64,
    /// Slot 6: factor per column, or null.
    pub gamma: *const f32,
    /// Slot 7: addend per column, or null.
    pub beta: *const f32,
    /// Slot 8: epsilon, a float word.
    pub eps: u64,
    /// Slot 9: 0 layer norm, 1 RMS norm.
    pub mode: i64,
    /// Slot 10: the mean of each row, or null (RMS norm writes 0).
    pub mean_out: *mut f32,
    /// Slot 11: the inverse standard deviation (or RMS) of each row, or null.
    pub inv_std_out: *mut f32,
}

/// `f32_reduce_sum`, `f32_reduce_max`, `f32_reduce_min`: one result per row.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ReduceArgs {
    /// Slot 0: results.
    pub dst: *mut f32,
    /// Slot 1: input rows.
    pub src: *const f32,
    /// Slot 2: rows.
    pub rows: i64,
    /// Slot 3: columns.
    pub n: i64,
    /// Slot 4: elements from result to result.
    pub dst_stride: i64,
    /// Slot 5: elements from input row to input row.
    pub src_row_stride: i64,
}

/// `f32_lstm_cell`: the elementwise part of one step of an LSTM.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LstmArgs {
    /// Slot 0: input of the gates: rows of i, o, f, c, `hidden` elements each.
    pub gates: *const f32,
    /// Slot 1: elements from row to row of `gates`.
    pub gates_row_stride: i64,
    /// Slot 2: rows (the batch).
    pub rows: i64,
    /// Slot 3: hidden size.
    pub hidden: i64,
    /// Slot 4: previous cell state.
    pub cell_in: *const f32,
    /// Slot 5: elements from row to row of `cell_in`.
    pub cell_in_row_stride: i64,
    /// Slot 6: next cell state; may be `cell_in`.
    pub cell_out: *mut f32,
    /// Slot 7: elements from row to row of `cell_out`.
    pub cell_out_row_stride: i64,
    /// Slot 8: next hidden state.
    pub hidden_out: *mut f32,
    /// Slot 9: elements from row to row of `hidden_out`.
    pub hidden_out_row_stride: i64,
    /// Slot 10: peephole weights of i, o, f, `hidden` elements each, or null.
    pub peepholes: *const f32,
    /// Slot 11: bound on the magnitude of the gates' input, a float word; infinity for none.
    pub clip: u64,
}

/// Unary functions and conversions over a contiguous tile; `dst` may be `src` where the element
/// sizes agree. Pointers are to the contract's own element types.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UnaryArgs {
    /// Slot 0: output.
    pub dst: *mut u8,
    /// Slot 1: input.
    pub src: *const u8,
    /// Slot 2: elements.
    pub n: i64,
}

/// Binary functions over contiguous tiles; `dst` may be `a` or `b`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BinaryArgs {
    /// Slot 0: output.
    pub dst: *mut u8,
    /// Slot 1: first operand.
    pub a: *const u8,
    /// Slot 2: second operand.
    pub b: *const u8,
    /// Slot 3: elements.
    pub n: i64,
}
