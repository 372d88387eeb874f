//! A plugin whose commands trap in another file.

use lictor_plugin::prelude::*;

mod helper;

#[plugin]
mod commands {
    /// a number of a list
    #[command]
    fn nth(index: u32) -> u32 {
        crate::helper::nth(&[1, 2, 3], index as usize)
    }

    /// a number that is not too large
    #[command]
    fn over(count: u32) -> u32 {
        crate::helper::over(count)
    }

    /// what lies in memory
    #[command]
    fn trap(address: u32) -> u32 {
        crate::helper::trap(address as usize)
    }

    /// computes without end
    #[command]
    fn spin(from: u64) -> u64 {
        crate::helper::spin(from)
    }

    /// goes deep
    #[command]
    fn deep(count: u32) -> u32 {
        crate::helper::deep(count)
    }
}
