use std::collections::HashSet;

use super::*;

#[test]
fn no_name_means_two_things() {
    let everybody = COLUMNS.iter().flat_map(|it| it.1).chain(CONTENT).chain(
        SAME.iter()
            .flat_map(|it| std::iter::once(&it.0).chain(it.1)),
    );
    let claude = CLAUDE_CODE
        .iter()
        .flat_map(|it| it.1)
        .chain(CLAUDE_CODE_CONTENT);
    let names: Vec<_> = everybody.collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    let names: Vec<_> = claude.collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
}

#[test]
fn every_word_is_its_own_latest_one() {
    for (place, word) in WORDS.iter().enumerate() {
        assert_eq!(meaning(word, false), Some(Meaning::Word(place)), "{word}");
        assert!(SAME.iter().any(|it| it.0 == *word), "{word}");
    }
}

#[test]
fn what_claude_code_says_means_that_from_claude_code_alone() {
    for name in ["model", "prompt", "input_tokens"] {
        assert!(meaning(name, true).is_some(), "{name}");
        assert_eq!(meaning(name, false), None, "{name}");
    }
    assert!(is_claude_code("com.anthropic.claude_code.events"));
    assert!(!is_claude_code("com.example.claude_code"));
}

#[test]
fn a_prompt_of_claude_code_is_one_by_any_name_and_its_length_is_none() {
    for name in ["prompt_text", "user_prompt", "prompt_of_tomorrow"] {
        assert_eq!(meaning(name, true), Some(Meaning::Content), "{name}");
    }
    for name in ["prompt_length", "system_prompt_hash"] {
        assert_eq!(meaning(name, true), None, "{name}");
    }
    assert_eq!(
        meaning("prompt.id", true),
        Some(Meaning::Column(Slot::Task))
    );
}

#[test]
fn numbered_prompts_are_prompts() {
    assert_eq!(
        meaning("gen_ai.prompt.12.content", false),
        Some(Meaning::Content)
    );
    assert_eq!(meaning("gen_ai.promptness", false), None);
}
