//! Which version of an operator governs a node.

/// The version of an operator that an operator set of version `opset` holds: the largest start not
/// above it.
///
/// ```
/// # use nnc_frontend::version::resolve;
/// assert_eq!(resolve(&[1, 7, 13], 12), Some(7));
/// assert_eq!(resolve(&[7, 13], 6), None);
/// ```
pub fn resolve(since: &[i64], opset: i64) -> Option<i64> {
    since.iter().copied().filter(|v| *v <= opset).max()
}
