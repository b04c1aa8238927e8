//! Numbers of four bits for any target.

use super::unpack;

kernel_rows! { Portable;
    f32_unpack4_portable: "f32_unpack4" v1 (1, 16) => |args| unpack(args);
}
