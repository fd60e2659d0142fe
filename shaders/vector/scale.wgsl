// y = alpha y. Bytes an element: twice its own size.

#permute -
#import shared/map

@group(0) @binding(3) var<storage, read> alpha: array<f32>;

fn map(y: Words, x: Words, i: u32) -> Words {
    return pack(alpha[0] * low(y), alpha[0] * high(y));
}
