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

/// A JPEG file in hexadecimal digits, the shape of the image, and its pixels as Pillow (that is,
/// libjpeg-turbo) decodes them.
type Jpeg = (&'static str, [usize; 3], &'static str);

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2).map(|c| std::str::from_utf8(c).unwrap());
    digits.map(|d| u8::from_str_radix(d, 16).unwrap()).collect()
}

#[test]
fn jpeg_pixels_are_those_of_libjpeg() {
    for (file, dims, pixels) in [BASELINE, PROGRESSIVE, GRAY] {
        let image = decode(&unhex(file), "RGB");
        assert_eq!(shape(&image), dims);
        assert_eq!(image.tensor().unwrap().bytes(), unhex(pixels));
    }
}

#[test]
fn damaged_jpeg_files_never_panic() {
    for (file, ..) in [BASELINE, PROGRESSIVE, GRAY] {
        let file = unhex(file);
        // Every third byte keeps the test short.
        for at in (0..file.len()).step_by(3) {
            decode(&file[..at], "Grayscale");
            for value in [0xff, file[at] ^ 1] {
                let mut damaged = file.clone();
                damaged[at] = value;
                decode(&damaged, "BGR");
            }
        }
    }
}

/// Quality 50, chroma at half width and height.
const BASELINE: Jpeg = (
    "ffd8ffe000104a46494600010100000100010000ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123\
     251d283a333d3c3933383740485c4e404457453738506d51575f626768673e4d71797064785c656763ffdb0043011112\
     121815182f1a1a2f63423842636363636363636363636363636363636363636363636363636363636363636363636363\
     6363636363636363636363636363ffc00011080004000503012200021101031101ffc400150001010000000000000000\
     0000000000000005ffc4001a100002020300000000000000000000000000050104113391ffc400150101010000000000\
     0000000000000000000405ffc4001d110100010305000000000000000000000001030002041322315191ffda000c0301\
     0002110311003f00b2a50af9aba71c001319e5142e7da4624b26859b9e3bafffd9",
    [4, 5, 3],
    "0000401f054e6a0563af0977e4088617535d3f56688a567ccd588dff569c0cab4535ae517fad62c1ae73f4ab7e1eee50\
     48f25c92f26dd6f580fff38d",
);

/// Progressive, quality 80, chroma at half width.
const PROGRESSIVE: Jpeg = (
    "ffd8ffe000104a46494600010100000100010000ffdb00430006040506050406060506070706080a100a0a09090a140e\
     0f0c1017141818171416161a1d251f1a1b231c1616202c20232627292a29191f2d302d283025282928ffdb0043010707\
     070a080a130a0a13281a161a282828282828282828282828282828282828282828282828282828282828282828282828\
     2828282828282828282828282828ffc20011080003000903012100021101031101ffc400150001010000000000000000\
     0000000000000506ffc4001501010100000000000000000000000000000304ffda000c030100021003100000016e8a13\
     ffc40017100100030000000000000000000000000004001215ffda0008010100010502200b6cf24fffc4001911000203\
     01000000000000000000000000010500030422ffda0008010301013f0154c348a0773fffc4001a110002020300000000\
     000000000000000001020003111231ffda0008010201013f015b5ec66dcf0e27ffc40018100003010100000000000000\
     00000000000002111333ffda0008010100063f0298ac3821ffc40016100101010000000000000000000000000000b1f1\
     ffda0008010100013f2180cc87ffda000c030100020003000000102fffc4001711000301000000000000000000000000\
     0000011141ffda0008010301013f1090361fffc4001a1101000105000000000000000000000000011100314161f0ffda\
     0008010201013f10049041a0583af9afffc4001b1001000105010000000000000000000000010011214171d1f1ffda00\
     08010100013f100022296118dcf79d9fffd9",
    [3, 9, 3],
    "00030c13092c3900546702848f01aba50095c10a5dd80a3af0073202834b228c683f7a80657992887c929e7778bb8255\
     d47e5df77f9a14f3c42fffaa46fc5968fe4589fd66a5f680c6fba1e4f8b9ffffd3",
);

/// Gray, two restart intervals.
const GRAY: Jpeg = (
    "ffd8ffe000104a46494600010100000100010000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f13201513121213271c\
     1e17202e2931302e292d2c333a4a3e333646372c2d405741464c4e525352323e5a615a50604a51524fffc0000b080002\
     000901011100ffc40014000100000000000000000000000000000003ffc4002110000103040105000000000000000000\
     000201030400111214061331515493ffdd00040001ffda0008010100003f0039ad846e2b135c05aeaca16dcc131cc140\
     ee2b6ee8be2bffd02d289eab1f34afffd9",
    [2, 9, 3],
    "0101012222225959595d5d5da8a8a8b2b2b2dedede070707272727636363707070a4a4a4cdcdcdd7d7d72121214a4a4a\
     454545808080",
);
