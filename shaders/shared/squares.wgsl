// Norms without overflow or underflow of squares: sums of squares in three ranges of magnitude, the large and the small
// scaled (Blue 1978; nrm2 of LAPACK 3.10). A NaN or an infinity counts as large, and the norm is then NaN or infinite.

// |x| from 2^45, times 2^-85
const LARGE: u32 = 172u << 23u;
// |x| below 2^-50, times 2^90
const SMALL: u32 = 77u << 23u;
const TO_LARGE: f32 = 0x1p-85f;
const TO_SMALL: f32 = 0x1p90f;

struct Squares {
    large: vec4<f32>,
    medium: vec4<f32>,
    small: vec4<f32>,
}

fn add_squares(sums: ptr<function, Squares>, x: vec4<f32>) {
    let magnitude = bitcast<vec4<u32>>(x) & vec4(0x7fffffffu);
    let large = magnitude >= vec4(LARGE);
    let small = magnitude < vec4(SMALL);
    let a = select(vec4(0.0), TO_LARGE * x, large);
    let b = select(x, vec4(0.0), large | small);
    let c = select(vec4(0.0), TO_SMALL * x, small);
    (*sums).large += a * a;
    (*sums).medium += b * b;
    (*sums).small += c * c;
}

// The sums over the four lanes: large, medium, small, 0.
fn add_lanes(sums: Squares) -> vec4<f32> {
    let l = sums.large;
    let m = sums.medium;
    let s = sums.small;
    return vec4((l.x + l.y) + (l.z + l.w), (m.x + m.y) + (m.z + m.w), (s.x + s.y) + (s.z + s.w), 0.0);
}

// Whether large values are among the squares, by bits, so that a NaN is.
fn any_large(sums: vec4<f32>) -> bool {
    return bitcast<u32>(sums.x) != 0u;
}

// The norm, divided by `scale`, of which the reciprocal is finite. Powers of two are multiplied in an order in which nothing
// overflows or underflows that the result would not.
fn norm_of(sums: vec4<f32>, scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if any_large(sums) {
        return hypotenuse(sqrt(sums.x), 0x1p-85f * sqrt(sums.y)) * 0x1p42f * inverse * 0x1p43f;
    }
    if sums.y != 0.0 {
        return hypotenuse(sqrt(sums.y), 0x1p-90f * sqrt(sums.z)) * inverse;
    }
    return sqrt(sums.z) * 0x1p-60f * inverse * 0x1p-30f;
}

// √(a² + b²) for a above 0. Two factors 2^-90 of b², which a compiler may multiply, would be 0.
fn hypotenuse(a: f32, b: f32) -> f32 {
    let ratio = b / a;
    return a * sqrt(1.0 + ratio * ratio);
}
