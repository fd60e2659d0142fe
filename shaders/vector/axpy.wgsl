// y = y + alpha x. Bytes an element: three times its own size.

#permute SOURCE | SOURCE SHARED
#import shared/map

@group(0) @binding(3) var<storage, read> alpha: array<f32>;

fn map(y: Words, x: Words, i: u32) -> Words {
    return pack(low(y) + alpha[0] * low(x), high(y) + alpha[0] * high(x));
}
