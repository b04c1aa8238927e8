//! The macro that turns a list of rows into entry points and the slice of their [`Kernel`]s.
//!
//! [`Kernel`]: crate::Kernel

/// `kernel_rows! { Isa, "features"; name: "contract" v1 (mr, nr) = body; … }` declares one
/// `extern "C"` function a row, compiled for the features, whose body is a function of the contract's
/// argument struct, and `ROWS`.
macro_rules! kernel_rows {
    (@version v1) => {
        1
    };
    (@version v2) => {
        2
    };
    ($isa:ident; $($rows:tt)*) => {
        kernel_rows! { @ $isa [inline(never)]; $($rows)* }
    };
    ($isa:ident, $features:literal; $($rows:tt)*) => {
        kernel_rows! { @ $isa [target_feature(enable = $features)]; $($rows)* }
    };
    (@ $isa:ident $attribute:tt; $($name:ident: $contract:literal $version:ident $tile:expr => $body:expr;)*) => {
        $(
            #$attribute
            unsafe extern "C" fn $name(args: *const u64) {
                // SAFETY: the caller passes the contract's struct (see `KernelFn`), on a CPU that has
                // the row's instruction set.
                unsafe { $body(&*args.cast()) }
            }
        )*

        pub(super) const ROWS: &[$crate::Kernel] = &[$(
            $crate::Kernel {
                contract: $contract,
                version: kernel_rows!(@version $version),
                name: stringify!($name),
                isa: $crate::Isa::$isa,
                func: $name,
                tile: $tile,
            },
        )*];
    };
}
