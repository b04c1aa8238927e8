//! Movers against NumPy's results.

use super::*;

fn iota(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    Tensor::from_slice(shape, &(0..n as i32).collect::<Vec<_>>()).unwrap()
}

fn ints(t: &Tensor) -> Vec<i128> {
    t.to_ints()
}

#[test]
fn transposes_any_width() {
    let x = iota(&[2, 3]);
    let expected = [0, 3, 1, 4, 2, 5];
    for &dtype in DType::ALL.iter().filter(|d| d.is_int() && d.bits() >= 4) {
        let t = transpose(&crate::cast(&x, dtype, true).unwrap(), &[1, 0]).unwrap();
        assert_eq!((t.shape(), ints(&t)), (&[3, 2][..], expected.to_vec()), "{dtype}");
    }
    let words = crate::cast(&x, DType::Str, true).unwrap();
    let t = transpose(&words, &[1, 0]).unwrap();
    assert_eq!(t.strings().concat(), b"031425");
    let c = crate::cast(&x, DType::C128, true).unwrap();
    let c = crate::cast(&transpose(&c, &[1, 0]).unwrap(), DType::I64, true).unwrap();
    assert_eq!(ints(&c), expected);
}

#[test]
fn refuses_bad_permutations() {
    for perm in [&[0, 0][..], &[0], &[0, 2], &[0, 1, 2]] {
        assert!(transpose(&iota(&[2, 3]), perm).is_err(), "{perm:?}");
    }
}

#[test]
fn broadcasts_like_numpy() {
    let t = broadcast_to(&iota(&[2, 1]), &[2, 2, 3]).unwrap();
    assert_eq!(ints(&t), [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
    assert!(broadcast_to(&iota(&[2]), &[3]).is_err());
    assert!(broadcast_to(&iota(&[1]), &[usize::MAX, 2]).is_err());
    assert!(broadcast_to(&iota(&[1, 2]), &[2]).is_err());
    assert_eq!(broadcast_to(&iota(&[1]), &[0, 3]).unwrap().shape(), [0, 3]);
}

#[test]
fn slices_both_ways() {
    let x = iota(&[3, 4]);
    let t = slice(&x, &[2, 3], &[-2, -1], &[2, 3]).unwrap();
    assert_eq!(ints(&t), [11, 10, 9, 3, 2, 1]);
    assert_eq!(ints(&slice(&x, &[1, 0], &[i64::MAX, 3], &[1, 2]).unwrap()), [4, 7]);
    assert!(slice(&x, &[0, 0], &[1, 1], &[4, 1]).is_err());
    assert!(slice(&x, &[0, -1], &[1, 1], &[1, 1]).is_err());
    assert!(slice(&x, &[0, 0], &[1, i64::MIN], &[1, 2]).is_err());
    assert_eq!(ints(&reverse(&x, &[1]).unwrap())[..4], [3, 2, 1, 0]);
    assert!(reverse(&iota(&[0, 2]), &[0]).unwrap().is_empty());
}

#[test]
fn concatenates_and_gathers() {
    let (a, b) = (iota(&[2, 1]), iota(&[2, 2]));
    let t = concat(&[&a, &b, &a], 1).unwrap();
    assert_eq!((t.shape(), ints(&t)), (&[2, 4][..], vec![0, 0, 1, 0, 1, 2, 3, 1]));
    assert!(concat(&[&a, &iota(&[3, 1])], 1).is_err());
    assert!(concat(&[], 0).is_err());
    let g = gather(&iota(&[2, 3]), 1, &[-1, 0], &[1, 2]).unwrap();
    assert_eq!((g.shape(), ints(&g)), (&[2, 1, 2][..], vec![2, 0, 5, 3]));
    for index in [2, -3, i64::MIN, i64::MAX] {
        assert!(gather(&b, 0, &[index], &[1]).is_err(), "{index}");
    }
    assert!(gather(&iota(&[0, 3]), 0, &[0], &[1]).is_err());
    let packed = crate::cast(&iota(&[5]), DType::U4, true).unwrap();
    assert_eq!(ints(&gather(&packed, 0, &[4, 1, 3], &[3]).unwrap()), [4, 1, 3]);
}

#[test]
fn pads_and_crops() {
    let t = pad_constant(&iota(&[2, 2]), &[1, 0], &[0, 1], &Tensor::scalar(9i32)).unwrap();
    assert_eq!((t.shape(), ints(&t)), (&[3, 3][..], vec![9, 9, 9, 0, 1, 9, 2, 3, 9]));
    let t = pad_constant(&iota(&[4]), &[-1], &[-2], &Tensor::scalar(9i32)).unwrap();
    assert_eq!(ints(&t), [1]);
    for (before, after) in [(-3, -2), (i64::MIN, 0), (i64::MAX, i64::MAX)] {
        assert!(pad_constant(&iota(&[4]), &[before], &[after], &Tensor::scalar(9i32)).is_err());
    }
    let all_cut = pad_constant(&iota(&[4]), &[-4], &[2], &Tensor::scalar(9i32)).unwrap();
    assert_eq!(ints(&all_cut), [9, 9]);
}

#[test]
fn strided_copies_stay_inside() {
    let x = iota(&[6]);
    assert_eq!(ints(&strided_copy(&x, 1, &[2, 1], &[2, 3]).unwrap()), [1, 2, 3, 3, 4, 5]);
    assert_eq!(ints(&strided_copy(&x, 5, &[-2], &[3]).unwrap()), [5, 3, 1]);
    assert!(strided_copy(&x, 5, &[-2], &[4]).is_err());
    assert!(strided_copy(&x, 0, &[isize::MAX, isize::MAX], &[3, 3]).is_err());
    assert!(strided_copy(&x, usize::MAX, &[1], &[2]).is_err());
    assert!(strided_copy(&x, 6, &[], &[]).is_err());
}
