// The sums of a tile, 16 rows by 8 columns an invocation, whose error hardly grows with their number of terms: ROUNDS of
// a loop are added in registers, a block; 16 blocks to `some`, and those to `all`. No sum is of more than 16 numbers up to
// 16,384 terms, four a round, or of more than 32 up to 32,768.

const ROUNDS: u32 = 16u;

alias Tile = array<mat4x4<f32>, 8>;

struct TileSums {
    some: Tile,
    all: Tile,
    blocks: u32,
}

fn add_block(sums: ptr<function, TileSums>, block: Tile) {
    (*sums).some[0] += block[0];
    (*sums).some[1] += block[1];
    (*sums).some[2] += block[2];
    (*sums).some[3] += block[3];
    (*sums).some[4] += block[4];
    (*sums).some[5] += block[5];
    (*sums).some[6] += block[6];
    (*sums).some[7] += block[7];
    (*sums).blocks += 1u;
    if (*sums).blocks % 16u == 0u {
        finish_sums(sums);
    }
}

fn finish_sums(sums: ptr<function, TileSums>) {
    for (var i = 0u; i < 8u; i++) {
        (*sums).all[i] += (*sums).some[i];
        (*sums).some[i] = mat4x4<f32>();
    }
}
