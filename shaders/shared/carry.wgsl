// Sums of many terms by one invocation, whose error hardly grows with their number. The importing kernel adds 16 terms at
// most to a block; blocks are added in sixteens, those in sixteens again, and so on: no sum is of more than 16 numbers
// up to 65,536 terms. The order depends on the number of terms alone. The importing kernel declares the type, `Sum`.

// the terms of a block
const TERMS: u32 = 16u;

struct Carry {
    low: Sum,
    middle: Sum,
    high: Sum,
    blocks: u32,
}

fn carried(before: Carry, block: Sum) -> Carry {
    var c = before;
    c.low += block;
    c.blocks += 1u;
    if c.blocks % 16u == 0u {
        c.middle += c.low;
        c.low = Sum();
    }
    if c.blocks % 256u == 0u {
        c.high += c.middle;
        c.middle = Sum();
    }
    return c;
}

fn total_carried(c: Carry) -> Sum {
    return c.high + (c.middle + c.low);
}
