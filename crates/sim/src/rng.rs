//! Chance with a seed: the same seed draws the same numbers on every machine.

/// A SplitMix64 stream (Steele, Lea and Flood, 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// The stream of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound` (0 for an empty range), by multiplication: the bias is under 2⁻³².
    pub fn below(&mut self, bound: u32) -> u32 {
        let scaled = (self.draw() >> 32) * u64::from(bound);
        u32::try_from(scaled >> 32).unwrap_or(0)
    }

    /// True `per_mille` times in a thousand.
    pub fn happens(&mut self, per_mille: u32) -> bool {
        self.below(1_000) < per_mille
    }

    /// A number from 0 up to but not including 1.
    pub fn unit(&mut self) -> f64 {
        // 53 bits, which is what a float holds.
        #[expect(clippy::cast_precision_loss, reason = "2⁵³ is exact")]
        let (draw, whole) = ((self.draw() >> 11) as f64, (1_u64 << 53) as f64);
        draw / whole
    }

    /// A draw of the normal distribution, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.unit(), self.unit());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}
