//! Image files.

use super::*;

fn decode(bytes: &[u8], format: &str) -> Value {
    let x = Tensor::from_slice(&[bytes.len()], bytes).unwrap();
    run("image_decoder", &[("pixel_format", text(format))], &[x.into()])[0].clone()
}

/// A portable pixmap: red, green; blue, white.
const PPM: &[u8] = b"P6 2 2 255\n\xff\0\0\0\xff\0\0\0\xff\xff\xff\xff";

#[test]
fn pixels_come_in_the_asked_format() {
    assert_eq!(shape(&decode(PPM, "RGB")), [2, 2, 3]);
    assert_eq!(decode(PPM, "RGB").tensor().unwrap().bytes(), &PPM[11..]);
    let bgr = b"\0\0\xff\0\xff\0\xff\0\0\xff\xff\xff";
    assert_eq!(decode(PPM, "BGR").tensor().unwrap().bytes(), bgr);
    // 255 · (0.299, 0.587, 0.114), rounded.
    let gray = decode(PPM, "Grayscale");
    assert_eq!((shape(&gray), gray.tensor().unwrap().bytes()), (vec![2, 2, 1], &[76, 150, 29, 255][..]));
}

#[test]
fn what_is_no_image_is_empty() {
    for bytes in [&b""[..], b"P6 2 2 255\n", b"\x89PNG\r\n\x1a\n", b"P6 99999 99999 255\n"] {
        assert_eq!(shape(&decode(bytes, "RGB")), [0, 0, 3]);
    }
}
