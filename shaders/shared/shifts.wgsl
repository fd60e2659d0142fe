// What neighbours hold of the four cells along x that an invocation takes at a time: they are at fixed distances in memory. A
// kernel says with `four` what cells hold. COARSE: rows are of whole cells of four.

// Four cells, or others where there are none: what is not there is not used.
fn within(i: i32) -> u32 {
    return u32(clamp(i, 0, i32(constants.count) - 1));
}

#ifdef COARSE
fn stride_y() -> i32 {
    return constants.stride_y;
}

fn stride_z() -> i32 {
    return constants.stride_z;
}

// What the four cells from 4 i + distance on hold.
fn shifted(i: u32, distance: i32) -> vec4<f32> {
    return four(within(i32(i) + (distance >> 2u)));
}
#else
// from row to row and from plane to plane, in cells; 0 where there is one plane
override STRIDE_Y: i32 = 4;
override STRIDE_Z: i32 = 16;

fn stride_y() -> i32 {
    return STRIDE_Y;
}

fn stride_z() -> i32 {
    return STRIDE_Z;
}

// What the four cells from 4 i + distance on hold.
fn shifted(i: u32, distance: i32) -> vec4<f32> {
    let at = i32(i) + (distance >> 2u);
    let low = four(within(at));
    if (distance & 3) == 0 {
        return low;
    }
    let high = four(within(at + 1));
    if (distance & 3) == 1 {
        return vec4(low.yzw, high.x);
    }
    if (distance & 3) == 2 {
        return vec4(low.zw, high.xy);
    }
    return vec4(low.w, high.xyz);
}
#endif
