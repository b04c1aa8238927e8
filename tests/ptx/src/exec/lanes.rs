//! Macros that make a function on all lanes of a warp from an expression on one.

/// `lanes1!(|m, a| expression)`
macro_rules! lanes1 {
    (|$m:ident, $a:ident| $body:expr) => {{
        fn map(mode: &$crate::program::Mode, d: &mut $crate::program::Lanes, a: &$crate::program::Lanes) {
            let $m = mode;
            for (d, a) in d.iter_mut().zip(a) {
                let $a = *a;
                *d = $body;
            }
        }
        map as $crate::program::Map1
    }};
}

/// `lanes2!(|m, a, b| expression)`
macro_rules! lanes2 {
    (|$m:ident, $a:ident, $b:ident| $body:expr) => {{
        fn map(
            mode: &$crate::program::Mode,
            d: &mut $crate::program::Lanes,
            a: &$crate::program::Lanes,
            b: &$crate::program::Lanes,
        ) {
            let $m = mode;
            for i in 0..32 {
                let ($a, $b) = (a[i], b[i]);
                d[i] = $body;
            }
        }
        map as $crate::program::Map2
    }};
}

/// `lanes3!(|m, a, b, c| expression)`
macro_rules! lanes3 {
    (|$m:ident, $a:ident, $b:ident, $c:ident| $body:expr) => {{
        fn map(
            mode: &$crate::program::Mode,
            d: &mut $crate::program::Lanes,
            a: &$crate::program::Lanes,
            b: &$crate::program::Lanes,
            c: &$crate::program::Lanes,
        ) {
            let $m = mode;
            for i in 0..32 {
                let ($a, $b, $c) = (a[i], b[i], c[i]);
                d[i] = $body;
            }
        }
        map as $crate::program::Map3
    }};
}

pub(crate) use {lanes1, lanes2, lanes3};
