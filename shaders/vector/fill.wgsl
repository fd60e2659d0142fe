// y = alpha. Bytes an element: its own size.

#permute WRITE_ONLY
#import shared/map

@group(0) @binding(3) var<storage, read> alpha: array<f32>;

fn map(y: Words, x: Words, i: u32) -> Words {
    return pack(Floats(alpha[0]), Floats(alpha[0]));
}
